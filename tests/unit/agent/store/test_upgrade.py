"""An upgrade of the nodes: this release's agent under the control plane of a former one.

It reads the items that the former release wrote, and what it writes is held against the former's own shape.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no stubs here
import pytest
from podway.wire.attributes import plain_item
from podway.wire.snapshot import Snapshot
from podway_agent.host.disk import SNAPSHOT, StateDirectory
from podway_agent.host.identity import Identity
from podway_agent.kernel.desired import Position, desired_routes, vpc_router
from podway_agent.settings import Settings
from podway_agent.store.client import DynamoDbStore
from podway_agent.store.sync import StoreSync

from tests.integration.control_plane.record import ROLE, spelt_routes
from tests.integration.control_plane.recorded import item, recorded

BEFORE = "cb26dc2"
"""Before there were epochs, and before agents said what they hold."""


class FormerTable:
    """Answers the agent's requests with the former release's items, and keeps what it writes."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def send(self, asked: Any) -> tuple[int, str]:
        given = json.loads(asked.body)
        if "Item" in given:
            self.written.append(given["Item"])
            return 200, "{}"
        key = given["Key"]
        return 200, json.dumps({"Item": item(BEFORE, key["pk"]["S"], key["sk"]["S"])})


class Node:
    """A node of the recorded cluster, whose agent is this release's."""

    def __init__(self, name: str, folder: Path, *, saved: bool = False) -> None:
        found = recorded(BEFORE)
        self.name, self.id, self.subnet = name, found["nodes"][name], found["subnets"][name[0]]
        instances = {one["Instance"]["id"]: one["Instance"] for one in found["state"]["instances"]}
        interfaces = {one["Interface"]["id"]: one["Interface"] for one in found["state"]["interfaces"]}
        own = interfaces[instances[self.id]["interfaces"][0]]
        self.address = own["address"]
        self.table, self.delivered = FormerTable(), list[Snapshot]()
        state = StateDirectory(folder)
        if saved:
            (folder / SNAPSHOT).write_text(found["saved_snapshots"][name[0]])
        identity = Identity(self.id, self.subnet, self.address, own["mac"], "us-west-2", f"{ROLE}:{self.id}")
        self.sync = StoreSync(
            settings=Settings(cluster="demo", table="podway"),
            identity=identity,
            store=DynamoDbStore(self.table, "podway", region="us-west-2", endpoint="https://store.invalid"),  # type: ignore[arg-type]  # only send is called
            state=state,
            deliver=self.delivered.append,
            renew=lambda: identity,
            newest=state.load_snapshot(cluster="demo", subnet=self.subnet),
            held_here=lambda _: (),
            version="0.2.0",
            boot="0b7d5f3e-0000-0000-0000-000000000000",
            clock=lambda: 1000.0,
        )

    def programs(self, snapshot: Snapshot) -> list[str]:
        router = vpc_router(snapshot, self.address)
        at = Position(self.id, 2, {} if router is None else {4: (router,)}, refuses=True)
        return spelt_routes(desired_routes(snapshot, at))


@pytest.fixture(params=["a1", "b2", "b9"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Node:
    """One that is ready, another's subnet, and one that the former release has still to make ready."""
    return Node(request.param, tmp_path)


def test_it_obeys_a_former_snapshot_and_programs_what_the_former_agent_did(node: Node) -> None:
    node.sync.step()

    (snapshot,) = node.delivered
    assert (snapshot.minor, snapshot.epoch) == (2, 1)
    assert node.programs(snapshot) == recorded(BEFORE)["routes_of_agents"][node.name]


def test_it_acknowledges_so_that_the_former_control_plane_understands(node: Node) -> None:
    """Types, required fields and patterns are the former reader's; what it does not know it ignores."""
    shape = recorded(BEFORE)["agent_item"]
    node.sync.step()
    generation = node.delivered[0].generation
    node.sync.kernel_holds(generation, node.delivered[0].epoch)
    node.sync.step()
    node.sync.suspect(frozenset({recorded(BEFORE)["nodes"]["a2"]}))
    node.sync.step()

    said = [plain_item(one) for one in node.table.written]

    assert [one["cause"] for one in said] == ["joined", "acknowledged", "suspicion"]
    assert [one["generation"] for one in said] == [0, generation, generation]
    for one in said:
        jsonschema.validate(one, shape, format_checker=jsonschema.FormatChecker())
        assert (one["reports"], one["instance"]) == ("agents", node.id), "the keys of the former index"
        assert shape["properties"].keys() <= one.keys(), "nothing that the former agent wrote is missing"


def test_a_saved_snapshot_of_the_former_agent_is_obeyed_at_once_and_nothing_is_taken_back(
    tmp_path: Path,
) -> None:
    """An agent that is replaced while the store is away goes on with the former one's file."""
    node = Node("a1", tmp_path, saved=True)

    snapshot = node.sync.newest
    node.sync.step()

    assert snapshot is not None
    assert node.programs(snapshot) == recorded(BEFORE)["routes_of_agents"]["a1"]
    assert node.delivered == [], "the store has no newer one"
    assert all(one["generation"]["N"] != "0" for one in node.table.written)
