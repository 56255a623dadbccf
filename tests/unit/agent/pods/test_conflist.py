from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot, SnapshotBlock, SnapshotMember
from podway_agent.pods.conflist import FILE, conflist, ensure_conflist, remove_conflist

from tests.unit.agent.snapshots import HERE, ME, SIBLING, State, member, snapshot

DATA = Path("/run/cni-podway")
FIRST, SECOND = Prefix.parse("100.64.0.0/26"), Prefix.parse("100.64.9.0/28")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cni" / "net.d"


def ensure(directory: Path, told: Snapshot) -> bool:
    return ensure_conflist(directory, told, HERE, data_dir=DATA, mtu=9001)


def written(directory: Path) -> list[str] | None:
    path = directory / FILE
    if not path.exists():
        return None
    content: dict[str, Any] = json.loads(path.read_text())
    return [part["subnet"] for part in content["plugins"][0]["ipam"]["ranges"][0]]


def test_it_is_the_measured_configuration() -> None:
    assert conflist([SECOND, FIRST], data_dir=DATA, mtu=9001) == {
        "cniVersion": "1.0.0",
        "name": "podway",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "mtu": 9001,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-podway",
                    "ranges": [[{"subnet": "100.64.0.0/26"}, {"subnet": "100.64.9.0/28"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    }


def test_each_family_has_a_range_set_and_a_default_route() -> None:
    ipam = conflist([FIRST, Prefix.parse("fd00:64::/80")], data_dir=DATA, mtu=1500)["plugins"][0]["ipam"]

    assert ipam["ranges"] == [[{"subnet": "100.64.0.0/26"}], [{"subnet": "fd00:64::/80"}]]
    assert ipam["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_a_ready_node_gets_it_and_nothing_else_appears_beside_it(directory: Path) -> None:
    assert ensure(directory, snapshot())

    assert written(directory) == ["100.64.0.0/26"]
    assert [path.name for path in directory.iterdir()] == [FILE]
    assert [path.name for path in directory.parent.iterdir()] == ["net.d"]


@pytest.mark.parametrize(
    "me",
    [
        member(HERE, "10.0.0.10", "100.64.0.0/26", state="joining"),
        member(HERE, "10.0.0.10", "100.64.0.0/26", ready=False),
        member(HERE, "10.0.0.10"),
        SIBLING,
    ],
)
def test_a_node_that_is_not_ready_gets_none(directory: Path, me: SnapshotMember) -> None:
    assert not ensure(directory, snapshot(me))
    assert written(directory) is None


def test_only_ready_blocks_are_named(directory: Path) -> None:
    blocks = (SnapshotBlock(cidr=FIRST, since=1, ready=True), SnapshotBlock(cidr=SECOND, since=2))

    ensure(directory, snapshot(ME.model_copy(update={"blocks": blocks})))

    assert written(directory) == ["100.64.0.0/26"]


def test_a_block_more_or_less_is_followed(directory: Path) -> None:
    for blocks in (["100.64.0.0/26"], ["100.64.0.0/26", "100.64.9.0/28"], ["100.64.9.0/28"]):
        ensure(directory, snapshot(member(HERE, "10.0.0.10", *blocks)))
        assert written(directory) == blocks


@pytest.mark.parametrize("state", ["joining", "draining"])
def test_a_running_node_keeps_it(directory: Path, state: State) -> None:
    ensure(directory, snapshot())

    assert ensure(directory, snapshot(member(HERE, "10.0.0.10", "100.64.0.0/26", state=state)))
    assert written(directory) == ["100.64.0.0/26"]


@pytest.mark.parametrize(
    "me", [SIBLING, member(HERE, "10.0.0.10", "100.64.0.0/26", state="gone"), member(HERE, "10.0.0.10")]
)
def test_it_never_names_a_block_that_is_not_the_nodes(directory: Path, me: SnapshotMember) -> None:
    ensure(directory, snapshot())

    assert not ensure(directory, snapshot(me))
    assert written(directory) is None


def test_a_draining_node_loses_only_the_block_that_was_taken(directory: Path) -> None:
    ensure(directory, snapshot(member(HERE, "10.0.0.10", "100.64.0.0/26", "100.64.9.0/28")))

    ensure(directory, snapshot(member(HERE, "10.0.0.10", "100.64.9.0/28", state="draining")))

    assert written(directory) == ["100.64.9.0/28"]


def test_an_unchanged_file_is_not_written_again(directory: Path) -> None:
    ensure(directory, snapshot())
    before = (directory / FILE).stat().st_ino

    ensure(directory, snapshot(generation=2))

    assert (directory / FILE).stat().st_ino == before


def test_what_a_killed_agent_left_half_way_does_not_stay(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / ".10-podway.new").write_text("{}")

    ensure(directory, snapshot())

    assert [path.name for path in directory.iterdir()] == [FILE]


def test_a_damaged_file_is_replaced(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / FILE).write_text("{")

    ensure(directory, snapshot())

    assert written(directory) == ["100.64.0.0/26"]


def test_removal_leaves_what_others_put_there(directory: Path) -> None:
    ensure(directory, snapshot())
    (directory / "99-loopback.conf").write_text("{}")
    (directory / ".10-podway.new").write_text("{}")

    remove_conflist(directory)
    remove_conflist(directory)

    assert [path.name for path in directory.iterdir()] == ["99-loopback.conf"]
