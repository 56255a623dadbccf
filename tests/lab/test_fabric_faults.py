"""Faults look on the fabric as they look in a VPC, and route changes lose what they must and no more."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from podway.domain.addressing import Prefix
from podway_lab.fabric.host import Host
from podway_lab.fabric.probes import ping, trace
from podway_lab.fabric.traffic import Figures, Flow, Traffic

from tests import limits
from tests.lab.handmade import SUPERNETS, TABLE, Cluster, address, attach, eventually, interface

pytestmark = pytest.mark.fabric

SUPERNET = Prefix.parse(SUPERNETS["c"])


@pytest.fixture
def traffic() -> Iterator[Traffic]:
    with Traffic() as traffic:
        yield traffic


def more_lost(flow: Flow, before: Figures) -> bool:
    return flow.look().lost > before.lost


def more_received(flow: Flow, before: Figures) -> bool:
    return flow.look().received > before.received


def test_replacing_a_route_loses_nothing(cluster: Cluster, traffic: Traffic) -> None:
    flows = [traffic.start(cluster.pods[name], cluster.pods["c2"]) for name in ("a1", "a2", "b1")]
    changed, flips = 0, itertools.count()

    def flip() -> bool:
        """Replace the route ten times; whether enough packets have seen it."""
        nonlocal changed
        for number in itertools.islice(flips, 10):
            changed += cluster.apply(cluster.aggregates() | {SUPERNET: interface(f"c{number % 2 + 1}")})
            time.sleep(0.02)
        return changed >= 19 and all(flow.look().sent > 300 for flow in flows)

    assert eventually(flip)

    figures = traffic.stop(*flows)

    assert changed >= next(flips) - 1, "the routes that this test is about were not always replaced"
    assert [(flow.lost, flow.gap_ms) for flow in figures] == [(0, 0), (0, 0), (0, 0)]
    assert all(flow.sent > 300 for flow in figures)


def test_a_changed_route_is_at_no_time_absent(cluster: Cluster) -> None:
    """As the kernel's own notices say, which a flow might be too slow to notice."""
    marker = Prefix.parse("100.65.0.0/24")
    moved = cluster.aggregates() | {SUPERNET: interface("c2")}
    with (cluster.fabric.directory / "notices").open("w+b") as notices:
        monitor = cluster.fabric.home.popen(["ip", "-o", "monitor", "route"], stdout=notices)

        def seen() -> str:
            return Path(notices.name).read_text()

        def watching() -> bool:
            """Whether a change that is not what this is about comes through."""
            cluster.apply(cluster.aggregates() | {marker: None})
            cluster.apply(cluster.aggregates())
            return str(marker) in seen()

        assert eventually(watching)
        cluster.apply(moved)
        cluster.apply({})
        assert eventually(lambda: f"Deleted {SUPERNET}" in seen())
        monitor.end()

    about_it = [line for line in seen().splitlines() if str(SUPERNET) in line]
    assert [line.split()[0] for line in about_it] == [str(SUPERNET), "Deleted"]
    assert f"via {address('c2')}" in about_it[0]


def test_deleting_a_route_before_creating_it_anew_loses_packets(cluster: Cluster, traffic: Traffic) -> None:
    flow = traffic.start(cluster.pods["a1"], cluster.pods["c2"])
    without = {
        destination: hop for destination, hop in cluster.aggregates().items() if destination != SUPERNET
    }
    assert eventually(lambda: flow.look().received > 0)
    for _ in range(5):
        before = flow.look()
        cluster.apply(without)
        time.sleep(0.02)
        assert eventually(partial(more_lost, flow, before))
        before = flow.look()
        cluster.apply(cluster.aggregates())
        assert eventually(partial(more_received, flow, before))

    figures = flow.stop()

    assert 0 < figures.lost < figures.sent
    assert figures.gap_ms >= 20, "longer than the route was away"
    assert len(figures.outages) == 5
    assert sum(outage.lost for outage in figures.outages) == figures.lost
    assert max(outage.ms for outage in figures.outages) == figures.gap_ms
    assert list(figures.outages) == sorted(figures.outages)


def test_a_terminated_forwarder_is_a_silent_hole_until_its_routes_move(
    cluster: Cluster, traffic: Traffic
) -> None:
    source, target = cluster.pods["a1"], cluster.pods["c2"].address
    flow = traffic.start(source, cluster.pods["c2"])
    assert eventually(lambda: flow.look().received > 0)

    cluster.fabric.detach("i-c1")
    hole = ping(source, target, timeout=0.3)  # longer than a packet has to arrive before it counts
    cluster.apply(cluster.aggregates() | {SUPERNET: interface("c2")})
    mended, before = ping(source, target), flow.look()
    assert eventually(partial(more_received, flow, before))
    figures = flow.stop()

    assert (hole.received, hole.refused_by) == (0, None)
    assert mended.received == 1
    assert trace(source, target).relays == ()
    assert figures.gap_ms >= 300, "the hole lasted at least as long as its ping waited"
    assert 0 < figures.lost < figures.sent


def test_routes_find_an_instance_that_comes_back(cluster: Cluster) -> None:
    cluster.fabric.detach("i-c1")
    cluster.fabric.detach("i-c1")
    gone = ping(cluster.hosts["a1"], address("c1"), timeout=0.2)

    cluster.configure("c1", attach(cluster.fabric, "c1"))

    assert (gone.received, gone.refused_by) == (0, None)
    assert trace(cluster.pods["a1"], cluster.pods["c2"].address).relays == (address("c1"),)


def test_routes_do_not_follow_an_address_to_another_interface(cluster: Cluster) -> None:
    """EC2 hands a dead instance's address to a new one; routes to the dead one's interface stay holes."""
    cluster.fabric.detach("i-c1")
    successor = cluster.fabric.attach(
        network_interface="eni-new",
        subnet_id="subnet-c",
        address=address("c1"),
        mac="02:00:00:00:00:99",
        instance_id="i-new",
    )
    cluster.fabric.set_source_dest_check("eni-new", on=False)
    cluster.configure("c1", successor)

    through_the_dead = ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=0.2).received
    cluster.apply(cluster.aggregates() | {SUPERNET: "eni-new"})

    assert through_the_dead == 0
    assert trace(cluster.pods["a1"], cluster.pods["c2"].address).relays == (address("c1"),)


@pytest.mark.parametrize(
    ("fault", "repair"),
    [
        (Host.port_down, Host.port_up),
        (lambda host: host.drop_everything(on=True), lambda host: host.drop_everything(on=False)),
    ],
    ids=["port down", "everything dropped"],
)
def test_a_lost_forwarder_answers_nobody_and_relays_nothing(
    cluster: Cluster, fault: Callable[[Host], None], repair: Callable[[Host], None]
) -> None:
    fault(cluster.hosts["c1"])
    relayed = ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=0.2)
    itself = ping(cluster.hosts["a1"], address("c1"), timeout=0.2)
    repair(cluster.hosts["c1"])

    assert (relayed.received, relayed.refused_by) == (0, None)
    assert itself.received == 0
    assert ping(cluster.pods["a1"], cluster.pods["c2"].address).received == 1


def test_a_zombie_answers_and_relays_nothing(cluster: Cluster) -> None:
    cluster.hosts["c1"].set_forwarding(on=False)

    assert ping(cluster.hosts["a1"], address("c1")).received == 1
    assert ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=0.2).received == 0


def test_a_blackhole_swallows_and_repeating_a_table_changes_nothing(cluster: Cluster) -> None:
    first = cluster.apply(cluster.aggregates() | {SUPERNET: None})
    again = cluster.apply(cluster.aggregates() | {SUPERNET: None})
    hole = ping(cluster.pods["a1"], cluster.pods["c2"].address, timeout=0.2)

    assert (first, again) == (1, 0)
    assert (hole.received, hole.refused_by) == (0, None)


def test_each_subnet_follows_the_table_it_is_associated_with(cluster: Cluster, traffic: Traffic) -> None:
    flow = traffic.start(cluster.pods["b1"], cluster.pods["c2"])

    cluster.fabric.apply_route_table("rtb-2", ["subnet-a"], cluster.aggregates() | {SUPERNET: None})
    apart = [
        ping(cluster.pods[name], cluster.pods["c2"].address, timeout=timeout).received
        for name, timeout in (("a1", 0.2), ("b1", limits.PATIENCE_SECONDS))
    ]
    cluster.fabric.apply_route_table(TABLE, ["subnet-a"], cluster.aggregates())
    back = ping(cluster.pods["a1"], cluster.pods["c2"].address).received

    assert (apart, back) == ([0, 1], 1)
    assert flow.stop().lost == 0
