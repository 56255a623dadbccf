from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot
from podway_agent.kernel.desired import Position, desired_routes, vpc_router
from podway_agent.kernel.routing import UNREACHABLE_METRIC, Key, Kind, Target

from tests.unit.agent.snapshots import HERE, ME, OTHER, SIBLING, State, member, snapshot

ROUTER = int(ipaddress.ip_address("10.0.0.1"))
POSITION = Position(instance=HERE, link=2, routers={4: (ROUTER,)})


def table(told: Snapshot) -> dict[str, str]:
    """Desired routes as text: prefix to gateway or kind."""
    routes = desired_routes(told, POSITION).routes
    return {
        f"{key.prefix}{' backstop' if key.metric == UNREACHABLE_METRIC else ''}": str(
            ipaddress.ip_address(target.gateway) if target.gateway is not None else target.kind.name
        )
        for key, target in routes.items()
    }


def test_siblings_by_their_address_and_the_rest_unreachable() -> None:
    assert table(snapshot()) == {
        "100.64.0.0/20 backstop": "UNREACHABLE",
        "100.64.0.0/26 backstop": "UNREACHABLE",
        "100.64.0.64/26": "10.0.0.11",
        "100.64.0.128/26": "10.0.0.12",
        "100.64.3.0/26": "10.0.0.12",
    }


def test_a_node_that_is_gone_has_no_route() -> None:
    gone = member("i-0b", "10.0.0.11", "100.64.0.64/26", state="gone")

    assert "100.64.0.64/26" not in table(snapshot(ME, gone))


@pytest.mark.parametrize("state", ["joining", "ready", "draining"])
def test_a_block_is_routed_before_it_is_ready_and_while_its_node_drains(state: State) -> None:
    other = member("i-0b", "10.0.0.11", "100.64.0.64/26", state=state, ready=False)

    assert table(snapshot(ME, other))["100.64.0.64/26"] == "10.0.0.11"


def test_what_another_subnet_owns_leaves_by_the_vpc_router() -> None:
    assert table(snapshot(ME, elsewhere=["100.64.8.0/24"]))["100.64.8.0/24"] == "10.0.0.1"


def test_what_is_refused_where_it_comes_in_is_not_refused_to_the_node_itself() -> None:
    told = snapshot(
        reachable_here=["100.64.0.0/20", "100.64.32.0/20"], led_here=["100.64.0.0/20", "100.64.64.0/20"]
    )

    def refused(position: Position) -> set[str]:
        found = desired_routes(told, position).routes
        return {str(key.prefix) for key, target in found.items() if target.kind is Kind.UNREACHABLE}

    own, here, there = "100.64.0.0/26", "100.64.0.0/20", "100.64.32.0/20"
    assert refused(POSITION._replace(refuses=True)) == {own, there}
    assert refused(POSITION) == {own, here, there}, "nothing else refuses it"
    assert refused(POSITION._replace(refuses=True, routers={})) == {own, here, there}, "nor can anything"
    told = snapshot(reachable_here=[here, there], led_here=[here], forwarders=(HERE,))
    assert refused(POSITION._replace(refuses=True)) == {own, here, there}, "it would come back"


def test_a_block_equal_to_its_direct_route_has_both_the_way_and_the_backstop() -> None:
    found = table(snapshot(ME, SIBLING, reachable_here=["100.64.0.64/26"]))

    assert found["100.64.0.64/26"] == "10.0.0.11"
    assert found["100.64.0.64/26 backstop"] == "UNREACHABLE"


def test_a_block_without_a_gateway_of_its_family_is_named_and_costs_nobody_else() -> None:
    odd = member("i-0d", "10.0.0.13", "fd00:64::/80")

    found = desired_routes(snapshot(ME, odd, SIBLING), POSITION)

    assert found.impossible == ("fd00:64::/80 of i-0d has no gateway of its address family",)
    assert Key(Prefix.parse("100.64.0.64/26"), 0) in found.routes


def test_an_ipv6_block_goes_to_an_ipv6_address() -> None:
    six = member("i-0d", "2001:db8::13", "fd00:64::/80")

    found = desired_routes(snapshot(ME, six), POSITION)

    gateway = int(ipaddress.ip_address("2001:db8::13"))
    assert found.routes[Key(Prefix.parse("fd00:64::/80"), 1024)] == Target(
        Kind.UNICAST, gateway, 2, onlink=True
    )


def test_the_vpc_router_is_at_the_base_plus_one_of_the_nodes_own_range() -> None:
    told = snapshot(subnet_cidrs=["10.9.0.0/24", "10.0.0.0/20"])

    assert vpc_router(told, "10.0.0.10") == ROUTER
    assert vpc_router(told, "10.77.0.10") is None


SUPERNET = Prefix.parse("100.64.0.0/20")
numbers = st.lists(st.integers(0, 63), unique=True, max_size=20)


@given(numbers=numbers, addresses=st.lists(st.integers(0, SUPERNET.size - 1), max_size=30))
def test_no_address_of_the_supernet_goes_back_to_the_vpc(numbers: list[int], addresses: list[int]) -> None:
    members = [
        member(f"i-{n:x}", f"10.0.1.{n}", f"100.64.{n // 4}.{n % 4 * 64}/26", state=("ready", "gone")[n % 2])
        for n in numbers
    ]

    routes = desired_routes(snapshot(ME, *members), POSITION).routes

    for offset in addresses:
        packet = Prefix(4, SUPERNET.value + offset, 32)
        matching = [key for key in routes if key.prefix.contains(packet)]
        chosen = min(matching, key=lambda key: (-key.prefix.length, key.metric))
        assert routes[chosen].gateway != ROUTER


def test_order_of_members_does_not_matter() -> None:
    assert table(snapshot(ME, SIBLING, OTHER)) == table(snapshot(OTHER, SIBLING, ME))
