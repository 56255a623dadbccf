from __future__ import annotations

import json
from pathlib import Path

import pytest
from podway.wire.snapshot import pack
from podway_agent.host.disk import SNAPSHOT, StateDirectory, write_atomically

from tests.unit.agent.snapshots import CLUSTER, SUBNET, snapshot


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory(tmp_path / "state")


def test_a_saved_snapshot_comes_back(state: StateDirectory) -> None:
    state.save_snapshot(pack(snapshot(generation=7)))

    assert state.load_snapshot(cluster=CLUSTER, subnet=SUBNET) == snapshot(generation=7)


def test_there_is_none_at_first(state: StateDirectory) -> None:
    assert state.load_snapshot(cluster=CLUSTER, subnet=SUBNET) is None


@pytest.mark.parametrize(("cluster", "subnet"), [("other", SUBNET), (CLUSTER, "subnet-b")])
def test_somebody_elses_snapshot_is_refused(state: StateDirectory, cluster: str, subnet: str) -> None:
    state.save_snapshot(pack(snapshot()))

    assert state.load_snapshot(cluster=cluster, subnet=subnet) is None


@pytest.mark.parametrize("damage", ["truncated", "body", "checksum", "generation", "field", "empty"])
def test_a_damaged_snapshot_is_refused(state: StateDirectory, damage: str) -> None:
    state.save_snapshot(pack(snapshot()))
    path = state.path / SNAPSHOT
    fields = json.loads(path.read_bytes())
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-20])
        case "empty":
            path.write_bytes(b"")
        case "body":
            path.write_text(json.dumps(fields | {"body": fields["body"][:40] + "AAAA" + fields["body"][44:]}))
        case "checksum":
            path.write_text(json.dumps(fields | {"checksum": "0" * 64}))
        case "generation":
            path.write_text(json.dumps(fields | {"generation": 99}))
        case _:
            path.write_text(json.dumps({"generation": 1}))

    assert state.load_snapshot(cluster=CLUSTER, subnet=SUBNET) is None


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    nowhere = tmp_path / "nowhere"

    with pytest.raises(OSError, match="No such file"):
        write_atomically(path, b"new", scratch=nowhere)

    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_written_file_is_readable_by_all_and_alone(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "file", b"new")

    assert (tmp_path / "deep" / "file").stat().st_mode & 0o777 == 0o644
    assert [found.name for found in (tmp_path / "deep").iterdir()] == ["file"]
