"""Whom a node probes, by which way and with whose help, as the snapshot alone says."""

from __future__ import annotations

from collections import Counter

from podway.domain.addressing import Prefix
from podway.domain.health.watchers import assign_watchers, watches_of
from podway.domain.model import Cluster, Node, Subnet
from podway.wire.snapshot import Snapshot, SnapshotMember, Watch
from podway_agent.probing.targets import MOST_FORWARDERS, THIRDS, ProbeTargets, targets_of

from tests.unit.agent.snapshots import HERE, ME, OTHER, SIBLING, member, snapshot

THIRD = member("i-0d", "10.0.0.13", "100.64.0.192/26")


def watching(*forwarders: str, members: tuple[SnapshotMember, ...] = (ME, SIBLING, OTHER, THIRD)) -> Snapshot:
    watches = tuple(Watch(forwarder=one, watchers=(HERE,)) for one in forwarders)
    return snapshot(*members, watches=watches)


def targets(told: Snapshot, *suspects: str, before: ProbeTargets | None = None) -> ProbeTargets:
    return targets_of(told, HERE, before=before or ProbeTargets(), suspects=suspects)


def address(text: str) -> Prefix:
    return Prefix.parse(f"{text}/32")


def test_a_watcher_probes_through_its_forwarder_to_the_others() -> None:
    found = targets(watching("i-0b"))

    (one,) = found.watched
    assert found.source == address("100.64.0.0")
    assert (one.node, one.gateway, one.itself) == ("i-0b", address("10.0.0.11"), address("100.64.0.64"))
    assert {third.node: third.address for third in found.thirds} == {
        "i-0b": address("100.64.0.64"),  # answers for other forwarders
        "i-0c": address("100.64.0.128"),
        "i-0d": address("100.64.0.192"),
    }


def test_a_node_that_watches_nobody_still_answers() -> None:
    two = member(HERE, "10.0.0.10", "100.64.0.0/26", "100.64.3.64/26")

    assert targets(watching(members=(two, SIBLING))) == ProbeTargets(
        (address("100.64.0.0"), address("100.64.3.64"))
    )


def test_who_is_not_in_the_snapshot_has_no_targets() -> None:
    assert targets(watching("i-0b", members=(SIBLING, OTHER))) == ProbeTargets()


def test_who_is_not_ready_probes_nobody_and_answers_nobody() -> None:
    waiting = member(HERE, "10.0.0.10", "100.64.0.0/26", ready=False)
    joining = member("i-0d", "10.0.0.13", "100.64.0.192/26", state="joining", ready=False)

    assert targets(watching("i-0b", members=(waiting, SIBLING, OTHER))).source is None
    thirds = targets(watching("i-0b", members=(ME, SIBLING, OTHER, joining))).thirds
    assert "i-0d" not in {third.node for third in thirds}


def test_forwarders_that_are_gone_or_have_another_family_are_not_probed() -> None:
    gone = member("i-0b", "10.0.0.11", "100.64.0.64/26", state="gone")
    other = member("i-0c", "fd00::c", "fd64:0:0:2::/64")

    assert targets(watching("i-0b", "i-0c", members=(ME, gone, other, THIRD))).watched == ()


def test_whom_it_suspects_it_goes_on_probing_while_it_is_a_member() -> None:
    told = watching()

    assert [one.node for one in targets(told, "i-0b", "i-gone").watched] == ["i-0b"]
    assert targets(told, HERE).watched == ()


def test_a_forwarder_keeps_its_slot_whoever_comes_and_goes() -> None:
    first = targets(watching("i-0c"))
    second = targets(watching("i-0b", "i-0c"), before=first)
    third = targets(watching("i-0b"), before=second)

    slots = [{one.node: one.slot for one in found.watched} for found in (first, second, third)]
    assert slots == [{"i-0c": 0}, {"i-0b": 1, "i-0c": 0}, {"i-0b": 1}]


def test_slots_are_not_shared_and_do_not_run_over() -> None:
    crowd = tuple(member(f"i-{n:02x}", f"10.0.1.{n}", f"100.64.1.{n}/32") for n in range(30))
    told = snapshot(ME, *crowd, watches=tuple(Watch(forwarder=one.id, watchers=(HERE,)) for one in crowd))

    found = targets(told)

    assert sorted(one.slot for one in found.watched) == list(range(MOST_FORWARDERS))


def test_an_ipv6_only_node_probes_in_its_family() -> None:
    told = watching(
        "i-0b",
        members=tuple(
            member(name, f"fd00::{name[-1]}", f"fd64:0:0:{n}::/64")
            for n, name in enumerate((HERE, "i-0b", "i-0c"))
        ),
    )

    found = targets(told)

    assert found.source == Prefix.parse("fd64::/128")
    assert [one.gateway for one in found.watched] == [Prefix.parse("fd00::b/128")]


def test_the_work_of_a_node_does_not_grow_with_the_subnet() -> None:
    """Everybody forwards, which is the most that there can be; assigned as the control plane does."""
    most = {}
    for size in (10, 60, 300):
        names = [f"i-{number:017x}" for number in range(size)]
        watches = assigned(names)
        counts = [len(watches_of(name, watches)) for name in names]
        most[size] = max(counts)
        assert sum(counts) == 3 * size
        assert Counter(map(len, watches.values())) == {3: size}

        members = tuple(
            member(name, f"10.0.{n >> 8}.{n & 255}", f"100.64.{n >> 8}.{n & 255}/32")
            for n, name in enumerate(names)
        )
        told = snapshot(
            *members, watches=tuple(Watch(forwarder=one, watchers=who) for one, who in watches.items())
        )
        found = targets_of(told, names[0], before=ProbeTargets(), suspects=())
        assert len(found.watched) == counts[0]
        assert len(found.thirds) == THIRDS
    assert max(most.values()) <= MOST_FORWARDERS


def assigned(names: list[str]) -> dict[str, tuple[str, ...]]:
    nodes = tuple(Node(name, "subnet-a", "", (Prefix(4, n << 6, 26),)) for n, name in enumerate(names))
    return assign_watchers(Cluster("demo", (), (Subnet("subnet-a", ()),), nodes, ()), names)
