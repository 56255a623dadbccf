"""A node asks for another block while there is still room in those that it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from podway.domain.addressing import Prefix
from podway.wire.agent_item import MOST_NAMED_BLOCKS
from podway.wire.snapshot import Snapshot
from podway_agent.pods.addresses import addresses_in_use, fullest, held_blocks, room
from podway_agent.pods.conflist import NETWORK, ensure_conflist
from podway_agent.usage import NO_USAGE, Usage

from tests.unit.agent.snapshots import HERE, member, prefixes, snapshot


def pods(network: str, count: int) -> tuple[Prefix, ...]:
    first = Prefix.parse(network)
    return tuple(
        Prefix(first.version, first.value + 2 + n, 32 if first.version == 4 else 128) for n in range(count)
    )


@pytest.mark.parametrize(
    ("block", "pods_in_it"),
    [("100.64.0.0/26", 61), ("100.64.0.0/30", 1), ("100.64.0.0/32", 0), ("fd00::/122", 62)],
)
def test_room_is_what_host_local_hands_out(block: str, pods_in_it: int) -> None:
    assert room(Prefix.parse(block)) == pods_in_it


@pytest.mark.parametrize(("used", "wanted"), [(0, 1), (48, 1), (49, 2), (61, 2)])
def test_another_block_is_wanted_from_four_fifths_on(used: int, wanted: int) -> None:
    assert fullest(prefixes(["100.64.0.0/26"]), pods("100.64.0.0/26", used)).wanted == wanted


def test_a_block_that_came_quiets_the_wish_and_a_full_one_renews_it() -> None:
    two = prefixes(["100.64.0.0/26", "100.64.9.0/26"])
    first = pods("100.64.0.0/26", 61)

    assert fullest(two, first).wanted == 2
    assert fullest(two, first + pods("100.64.9.0/26", 37)) == Usage(98, 122, 2)
    assert fullest(two, first + pods("100.64.9.0/26", 37)).wanted == 3


def test_the_family_nearest_to_its_end_decides() -> None:
    both = prefixes(["100.64.0.0/26", "fd00::/122"])

    assert fullest(both, pods("fd00::/122", 50)) == Usage(50, 62, 1)
    assert fullest(both, pods("100.64.0.0/26", 10)) == Usage(10, 61, 1)


def test_addresses_of_withdrawn_blocks_take_no_room() -> None:
    assert fullest(prefixes(["100.64.0.0/26"]), pods("100.64.9.0/26", 60)).used == 0


def test_a_node_without_blocks_wants_none_of_its_own_accord() -> None:
    assert fullest((), pods("100.64.0.0/26", 3)) == NO_USAGE
    assert NO_USAGE.wanted == 0


def test_only_addresses_are_counted_in_what_host_local_keeps(tmp_path: Path) -> None:
    kept = tmp_path / "podway"
    kept.mkdir()
    for name in ("100.64.0.2", "fd00::2", "lock", "last_reserved_ip.0"):
        (kept / name).touch()

    assert sorted(map(str, addresses_in_use(tmp_path))) == ["100.64.0.2/32", "fd00::2/128"]


def test_before_the_first_pod_nothing_is_in_use(tmp_path: Path) -> None:
    assert addresses_in_use(tmp_path) == ()


def test_held_are_ready_blocks_those_that_the_runtime_names_and_pods_outside_them(tmp_path: Path) -> None:
    """A node that a restored store does not know any more must still say what its pods use."""
    known = snapshot(
        member(HERE, "10.0.0.10", "100.64.0.0/26"),
        member("i-0b", "10.0.0.11", "100.64.0.64/26"),
    )
    unready = snapshot(member(HERE, "10.0.0.10", "100.64.2.0/26", ready=False))
    (tmp_path / NETWORK).mkdir()
    for name in ("100.64.0.2", "100.64.7.9", "lock"):
        (tmp_path / NETWORK / name).touch()
    ensure_conflist(tmp_path / "net.d", known, HERE, data_dir=tmp_path, mtu=1500)

    def held(told: Snapshot | None, conf: str = "net.d") -> list[str]:
        return [str(one) for one in held_blocks(told, HERE, tmp_path, tmp_path / conf)]

    assert held(known) == ["100.64.0.0/26", "100.64.7.9/32"]
    assert held(None) == ["100.64.0.0/26", "100.64.7.9/32"]
    assert held(unready, "none") == ["100.64.0.2/32", "100.64.7.9/32"]
    assert held(None, "none") == ["100.64.0.2/32", "100.64.7.9/32"]


def test_no_more_is_said_than_an_item_may_carry_and_blocks_come_first(tmp_path: Path) -> None:
    """An item that is refused would make the node count as silent."""
    (tmp_path / NETWORK).mkdir()
    for number in range(MOST_NAMED_BLOCKS + 9):
        (tmp_path / NETWORK / f"100.63.{number // 250}.{number % 250 + 2}").touch()

    held = held_blocks(snapshot(), HERE, tmp_path, tmp_path)

    assert len(held) == MOST_NAMED_BLOCKS
    assert str(held[0]) == "100.64.0.0/26"
