"""Rules for what comes in from the VPC, as values and as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway_agent import netlink, rules
from podway_agent.desired import Position, desired_routes
from podway_agent.entrance import Entrance, guarded, held, rules_for
from podway_agent.netlink import Message
from podway_agent.routing import MAIN_TABLE, Kind, Target
from podway_agent.rules import Rule

from tests.unit.agent.snapshots import HERE, ME, member, prefixes, snapshot

SUPERNET = Prefix.parse("100.64.0.0/20")
KNOWN, REFUSED = rules_for(SUPERNET, "ens5")
ROUTER = 0x0A000001


@pytest.mark.parametrize(
    "rule",
    [
        KNOWN,
        REFUSED,
        *rules_for(Prefix.parse("fd00:64::/52"), "interface-of-15"),
        Rule(4, 112, 11200, mark=0x70),
        Rule(6, 112, 11215, mark=0x7F),
    ],
    ids=str,
)
def test_a_rule_is_read_as_it_is_written(rule: Rule) -> None:
    assert rules.decode(rules.adding(rule).payload) == rule
    assert rules.decode(rules.removing(rule).payload) == rule


def test_a_rule_of_somebody_else_is_not_read() -> None:
    theirs = rules.adding(KNOWN).payload.replace(netlink.attribute(rules.FRA_PROTOCOL, b"\x70"), b"")

    assert rules.decode(theirs) is None


@pytest.mark.parametrize(
    ("reachable", "led", "found"),
    [
        (["100.64.0.0/20"], [], []),
        (["100.64.0.0/20"], ["100.64.0.0/20"], ["100.64.0.0/20"]),
        (["100.64.0.0/20", "100.64.32.0/20"], ["100.64.32.0/20"], ["100.64.32.0/20"]),
        (["100.64.0.0/20"], ["100.64.0.0/19"], []),
    ],
)
def test_what_the_own_route_table_leads_here_is_guarded(
    reachable: list[str], led: list[str], found: list[str]
) -> None:
    assert guarded(snapshot(reachable_here=reachable, led_here=led)) == frozenset(prefixes(found))


def test_a_prefix_that_lacks_a_rule_is_not_guarded() -> None:
    assert held({SUPERNET}, "ens5", {KNOWN, REFUSED}) == {SUPERNET}
    assert held({SUPERNET}, "ens5", {KNOWN}) == frozenset()
    assert held({SUPERNET}, "ens5", {REFUSED}) == frozenset()
    assert held({SUPERNET}, "eth0", {KNOWN, REFUSED}) == frozenset()


def test_only_a_rule_of_ours_that_goes_concerns_us() -> None:
    entrance = Entrance(wanted=frozenset({KNOWN}))

    def told(kind: int, rule: Rule) -> bool:
        return entrance.concerns(Message(kind, 0, rules.adding(rule).payload))

    assert told(netlink.RTM_DELRULE, KNOWN)
    assert not told(netlink.RTM_NEWRULE, KNOWN)
    assert not told(netlink.RTM_DELRULE, REFUSED)


numbers = st.lists(st.integers(0, 63), unique=True, max_size=20)


def chosen(packet: Prefix, numbers: list[int], *, comes_in: bool) -> Target | None:
    """Where the rules and the main table send *packet*; None: it is refused by a rule."""
    members = [member(f"i-{n:x}", f"10.0.1.{n}", f"100.64.{n // 4}.{n % 4 * 64}/26") for n in numbers]
    told = snapshot(ME, *members, led_here=[str(SUPERNET)], elsewhere=["100.64.15.0/24"])
    here = Position(HERE, 2, {4: ROUTER}, guarded(told))
    table = {(key.prefix, key.metric): target for key, target in desired_routes(told, here).routes.items()}
    table[Prefix(4, 0, 0), 0] = Target(Kind.UNICAST, ROUTER)
    asked = [rule for one in here.guarded for rule in rules_for(one, "ens5")] if comes_in else []
    for rule in (*sorted(asked, key=lambda rule: rule.priority), Rule(4, 32766, MAIN_TABLE)):
        if any(not prefix.contains(packet) for prefix in rule.to):
            continue
        if not rule.table:
            return None
        fits = [key for key in table if key[0].contains(packet)]
        best = min(fits, key=lambda key: (-key[0].length, key[1]))
        if best[0].length > rule.wide:
            return table[best]
    raise AssertionError("no rule is for it")


@given(numbers=numbers, offset=st.integers(0, SUPERNET.size - 1))
def test_what_comes_in_leaves_for_the_router_only_where_another_subnet_owns_it(
    numbers: list[int], offset: int
) -> None:
    packet = Prefix(4, SUPERNET.value + offset, 32)

    found = chosen(packet, numbers, comes_in=True)

    elsewhere = Prefix.parse("100.64.15.0/24").contains(packet) and offset // 64 not in numbers
    assert (found is not None and found.gateway == ROUTER) == elsewhere


@given(numbers=numbers, offset=st.integers(64, SUPERNET.size - 1))
def test_what_the_node_sends_to_an_unknown_address_leaves_for_the_router(
    numbers: list[int], offset: int
) -> None:
    packet = Prefix(4, SUPERNET.value + offset, 32)

    found = chosen(packet, numbers, comes_in=False)

    assert found is not None
    assert (found.gateway == ROUTER) == (offset // 64 not in numbers)
