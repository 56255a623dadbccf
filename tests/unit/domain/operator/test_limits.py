"""How near the limits are, by what cannot be given up."""

from __future__ import annotations

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Node, Route, RouteOrigin, RouteTable, Subnet
from podway.domain.operator.limits import ALERT, WARN, pressures

POD_CIDR = Prefix.parse("100.64.0.0/16")
SUPERNETS = (Prefix.parse("100.64.0.0/20"), Prefix.parse("100.64.16.0/20"))
BLOCKS = tuple(Prefix(4, SUPERNETS[0].value + 64 * number, 26) for number in range(8))
NODES = tuple(Node(f"i-{n}", "subnet-a", f"eni-{n}", (block,)) for n, block in enumerate(BLOCKS))
LOCAL = Route(Prefix.parse("10.0.0.0/16"), "local", origin=RouteOrigin.CREATE_ROUTE_TABLE)


def cluster(*routes: Route, quota: int = 10) -> Cluster:
    subnets = (Subnet("subnet-a", SUPERNETS[:1]), Subnet("subnet-b", SUPERNETS[1:]))
    table = RouteTable("rtb-1", (LOCAL, *routes), ("subnet-b",), quota, reserve=2)
    return Cluster("demo", (POD_CIDR,), subnets, NODES, (table,))


def test_foreign_routes_anchors_and_the_reserve_press_and_direct_routes_do_not() -> None:
    direct = tuple(Route(block, f"eni-{n}", owned=True) for n, block in enumerate(BLOCKS[:5]))
    foreign = Route(Prefix.parse("172.16.0.0/12"), "tgw-1")

    (alone, space) = pressures(cluster(*direct), BLOCKS)
    (beside, _) = pressures(cluster(*direct, foreign), BLOCKS)

    assert alone.share == (1 + 2 + 2) / 10, "local, two anchors, reserve"
    assert beside.share == (2 + 2 + 2) / 10
    assert space.what == str(POD_CIDR)
    assert space.share == len(BLOCKS) * 64 / 65536
    assert alone.warning == space.warning == ""


def test_it_warns_at_80_percent_and_alarms_at_95() -> None:
    foreign = tuple(Route(Prefix(4, 0xAC100000 + 256 * n, 24), "tgw-1") for n in range(15))

    (warning, _) = pressures(cluster(*foreign[:11], quota=20), BLOCKS)
    (alarming, full) = pressures(cluster(*foreign[:14], quota=20), (POD_CIDR,))

    assert (warning.share, alarming.share, full.share) == (WARN, ALERT, 1.0)
    assert warning.warning
    assert not warning.is_alarming
    assert alarming.is_alarming
    assert full.is_alarming


def test_a_table_without_any_quota_is_full() -> None:
    assert pressures(cluster(quota=0), ())[0].is_alarming
