"""Records a small cluster as a release leaves it: the store's items, EC2, and the agents' files.

Run by hand, once per release, in a checkout of that release, whose modules it uses:
``PYTHONPATH=$PWD:$PWD/layers/podway/src:$PWD/node_agent/src:$PWD/lab python record.py OUT.json``.
`recorded` reads the file, for `test_upgrade` and the agent's tests.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from dataclasses import fields, is_dataclass
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
from moto import mock_aws
from podway.domain.addressing import Prefix
from podway.domain.signals import AgentReported, AlarmValue, HandoverAsked, HandoverReason
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, unpack
from podway_lab.stack.template import Place, Template

from tests.integration.control_plane.plane import Plane, let_referees_rest

ROLE = "AROAEXAMPLE"
NODES = ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "b5", "b6")
QUOTA = 4
"""So tight that nodes must relay."""


def agents_module(*names: str) -> ModuleType:
    """The first of the agent's modules that this checkout has: they were renamed."""
    home = Path(str(import_module("podway_agent").__file__)).parent
    there = (name for name in names if (home / f"{name.replace('.', '/')}.py").exists())
    return import_module(f"podway_agent.{next(there)}")


class Wire:
    """Takes the agent's own request to the real table, as HTTP would."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb

    def send(self, asked: Any) -> tuple[int, str]:
        """PutItem is all that is asked here."""
        self._dynamodb.put_item(**json.loads(asked.body))
        return 200, "{}"


class RecordedPlane(Plane):
    """Agents write by their own code; those in *late* have not obeyed the newest map yet."""

    late: frozenset[str] = frozenset()

    def _report(self, report: Any) -> None:
        if report.instance in self.late:
            return
        store = agents_module("store.client", "store").DynamoDbStore(
            Wire(self.dynamodb), "podway", region="us-west-2", endpoint="https://store.invalid"
        )
        store.report(self.item_of(report.instance, report.subnet, report.generation))

    def item_of(self, node: str, subnet: str, generation: int) -> AgentItem:
        """As the agent makes it."""
        return AgentItem(
            pk=f"{ROLE}:{node}",
            instance=node,
            subnet=subnet,
            generation=generation,
            heartbeat=self.clock.now(),
            cause="acknowledged" if generation else "joined",
            version="0.1.0",
            blocks_wanted=1,
        )


def encoded(value: Any) -> Any:
    """*value* as JSON, with the names of its types."""
    match value:
        case Prefix():
            found: Any = {"Prefix": str(value)}
        case datetime():
            found = {"datetime": value.isoformat()}
        case bytes():
            found = base64.b64encode(value).decode()
        case dict():
            found = {str(key): encoded(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            found = [encoded(one) for one in value]
        case _ if is_dataclass(value):
            of = {one.name: encoded(getattr(value, one.name)) for one in fields(value)}
            found = {type(value).__name__: of}
        case _:
            found = value
    return found


def live(plane: RecordedPlane) -> None:
    """A node dies, one is drained, one suspected, an alarm is over, and one joins that has not obeyed yet."""
    plane.settle()
    plane.failover.react(plane.dies(plane.busiest("b")))
    plane.settle()
    now, busy = plane.clock.now(), plane.busiest("b")
    plane.lifecycle.react(HandoverAsked("drain", now, (plane.ids[busy],), HandoverReason.DRAIN))
    plane.settle()
    watched = next(card for card in plane.store.recall().cards.values() if card.watchers)
    for number, watcher in enumerate(watched.watchers[:2]):
        word = AgentReported(f"word {number}", plane.clock.now(), watcher, (watched.node,))
        plane.failover.react(word)
    plane.settle()
    plane.alarms.turn(next(iter(plane.alarms.standing)), AlarmValue.OK)
    plane.launch("b9")
    late = plane.ids["b9"]
    made = import_module("podway.app.ports").AgentReport  # where that release has it
    plane._report(made(late, plane.subnets["b"], 0, plane.clock.now()))
    plane.late = frozenset({late})
    for _ in range(6):
        plane.reconcile()
        plane.agents_acknowledge()


def record(plane: RecordedPlane) -> dict[str, Any]:
    """Everything that an upgrade finds."""
    now = plane.reconcile()
    if now.applied or now.failed or now.joined:
        raise SystemExit(f"the cluster is not at rest: {now}")
    items = plane.dynamodb.scan(TableName="podway")["Items"]
    disk = agents_module("host.disk", "disk")
    saved: dict[str, str] = {}
    for letter, subnet in plane.subnets.items():
        with tempfile.TemporaryDirectory() as folder:
            disk.StateDirectory(Path(folder)).save_snapshot(packed_map(items, subnet))
            saved[letter] = (Path(folder) / disk.SNAPSHOT).read_text()
    return {
        "now": plane.clock.now().isoformat(),
        "quota": plane.quota,
        "nodes": plane.ids,
        "subnets": plane.subnets,
        "tables": plane.tables,
        "joining": "b9",
        "alarms": {
            node: [one.value.value, one.at.isoformat()] for node, one in plane.alarms.standing.items()
        },
        "items": encoded(sorted(items, key=lambda one: (one["pk"]["S"], one["sk"]["S"]))),
        "state": {
            name: [encoded(one) for one in getattr(plane.region.state, name).values()]
            for name in ("vpcs", "subnets", "gateways", "interfaces", "instances", "associations")
        },
        "route_tables": [
            {"id": one.id, "vpc": one.vpc, "tags": one.tags, "routes": encoded(list(one.routes.values()))}
            for one in plane.region.state.tables.values()
        ],
        "made": plane.region.state.made,
        "agent_item": AgentItem.model_json_schema(),
        "saved_snapshots": saved,
        "routes_of_agents": routes_of_agents(plane, items),
    }


def packed_map(items: list[Any], subnet: str) -> Any:
    """The subnet's snapshot, as the store has it."""
    key = (f"snapshot#{subnet}", "body")
    body = next(one for one in items if (one["pk"]["S"], one["sk"]["S"]) == key)
    given = {name: int(body[name]["N"]) for name in ("generation", "epoch") if name in body}
    return PackedSnapshot(**given, checksum=body["checksum"]["S"], body=body["body"]["B"])


def routes_of_agents(plane: RecordedPlane, items: list[Any]) -> dict[str, list[str]]:
    """By node, what this release's agent programs by its subnet's snapshot, on its link 2."""
    desired = agents_module("kernel.desired", "desired")
    found = {}
    for name, node in plane.ids.items():
        instance = plane.region.state.instances[node]
        if instance.state != "running":
            continue
        snapshot = unpack(packed_map(items, instance.subnet), cluster="demo", subnet=instance.subnet)
        router = desired.vpc_router(snapshot, plane.region.state.interfaces[instance.interfaces[0]].address)
        at = desired.Position(node, 2, {} if router is None else {4: (router,)}, refuses=True)
        found[name] = spelt_routes(desired.desired_routes(snapshot, at))
    return found


def spelt_routes(desired: Any) -> list[str]:
    """Each route as a line, sorted."""
    return sorted(
        f"{key.prefix} metric {key.metric} {target.kind.name} {target.gateway} {target.link}"
        for key, target in desired.routes.items()
    )


def main() -> None:
    """Play the cluster's life over a table as the release's template declares it, and write the record."""
    template = Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())
    properties = template.properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        client.create_table(TableName="podway", **{name: properties[name] for name in wanted})
        plane = RecordedPlane(NODES, quota=QUOTA, dynamodb=client)
        live(plane)
        found = record(plane)
        let_referees_rest()
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
