"""What rules of groups and ACLs say in nftables' words; `tests/lab/test_groups.py` has the packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway_lab.fabric.rules import (
    ANYWHERE,
    LAST_PORT,
    GroupRule,
    Selection,
    Way,
    documented,
    wide_open,
)
from podway_lab.fabric.tracking import Plug, Tracking, chains

PODS = Prefix.parse("100.64.0.0/16")
PORTS = st.integers(0, LAST_PORT)


@pytest.mark.parametrize(
    ("text", "selection", "expression"),
    [
        ("everything", Selection(), ""),
        ("icmp", Selection("icmp"), "meta l4proto icmp"),
        ("tcp", Selection("tcp", 0, LAST_PORT), "meta l4proto tcp"),
        ("tcp 8080", Selection("tcp", 8080, 8080), "meta l4proto tcp th dport 8080-8080"),
        ("udp 0", Selection("udp", 0, 0), "meta l4proto udp th dport 0-0"),
        ("udp 1024-65535", Selection("udp", 1024), "meta l4proto udp th dport 1024-65535"),
    ],
)
def test_a_selection_is_read_and_said(text: str, selection: Selection, expression: str) -> None:
    assert Selection.parse(text) == selection
    assert selection.expression() == expression


@pytest.mark.parametrize("text", ["", "sctp", "icmp 8", "everything 80", "tcp 70000", "tcp 90-80", "tcp 80-"])
def test_what_is_no_selection_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no (selection|such ports)"):
        Selection.parse(text)


def untracked(*rules: GroupRule) -> dict[Way, list[str]]:
    """What each chain accepts without a look at any flow."""
    lines = chains(Plug("port1", "10.0.0.11"), rules, Tracking(), lambda name: name).splitlines()
    said = {way: [line for line in lines if f" {way.value}_port1 meta l4proto" in line] for way in Way}
    return {
        way: [line.partition("port1 meta l4proto ")[2] for line in found if "@" not in line]
        for way, found in said.items()
    }


def test_flows_are_untracked_only_where_everybody_may_begin_and_be_answered_on_every_port() -> None:
    web = Selection("tcp", 443, 443)
    one_port = GroupRule(Way.IN, web, ANYWHERE)
    out = GroupRule(Way.OUT, Selection(), ANYWHERE)

    assert untracked(*documented("nodes", PODS)) == {Way.IN: [], Way.OUT: []}
    assert untracked(one_port) == {Way.IN: [], Way.OUT: []}
    assert untracked(one_port, GroupRule(Way.OUT, Selection(), PODS)) == {Way.IN: [], Way.OUT: []}
    assert untracked(one_port, GroupRule(Way.OUT, Selection("tcp", 1024), ANYWHERE)) == {
        Way.IN: [],
        Way.OUT: [],
    }
    assert untracked(one_port, out) == {
        Way.IN: ["tcp th dport 443-443 accept"],
        Way.OUT: ["tcp th sport 443-443 accept"],
    }
    for said in untracked(*wide_open()).values():
        assert {line.split()[0] for line in said} == {"tcp", "udp"}, "ICMP is always tracked"


@given(first=PORTS, last=PORTS, way=st.sampled_from(Way))
def test_both_ways_of_an_untracked_flow_are_accepted_or_neither(first: int, last: int, way: Way) -> None:
    """Else a reply would be judged as if it began a flow."""
    other = Way.OUT if way is Way.IN else Way.IN
    begun = GroupRule(way, Selection("udp", min(first, last), max(first, last)), ANYWHERE)

    said = untracked(begun, GroupRule(other, Selection("udp"), ANYWHERE))

    mirrored = [
        one.replace("sport", "?").replace("dport", "sport").replace("?", "dport") for one in said[other]
    ]
    assert sorted(said[way]) == sorted(mirrored)
    assert f"udp th dport {begun.selection.ports} accept" in said[way]


@pytest.mark.parametrize(
    ("seconds", "said"), [(432_000, "432000s0ms"), (0.5, "0s500ms"), (59.9996, "60s0ms")]
)
def test_a_timeout_is_said_to_the_millisecond(seconds: float, said: str) -> None:
    rules = [GroupRule(Way.IN, Selection("tcp"), PODS)]

    text = chains(Plug("port1", "10.0.0.11"), tuple(rules), Tracking(tcp=seconds), lambda name: name)

    assert f"timeout {said}" in text
