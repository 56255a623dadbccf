"""Random small clusters for property tests, from hypothesis or from a seeded generator."""

from __future__ import annotations

from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.domain.model import (
    Cluster,
    ForwarderPreference,
    Health,
    Node,
    NodeState,
    Route,
    RouteTable,
    Subnet,
)

POD = Prefix.parse("100.64.0.0/24")
BITS = 4
"""Blocks are /28 and wider: sixteen smallest places."""


def place(index: int, bits: int = BITS) -> Prefix:
    """The *index*-th of the 2**bits equal parts of the pod CIDR."""
    return Prefix(4, POD.value + (index << (8 - bits)), 24 + bits)


HOME = {"a": place(0, 1), "b": place(2, 2), "c": place(3, 2)}


@st.composite
def nodes(draw: st.DrawFn, *, home: bool, sick: bool = True) -> tuple[Node, ...]:
    indices = draw(st.lists(st.integers(0, 15), unique=True, max_size=9))
    made = []
    for index in sorted(indices):
        block = place(index)
        subnet = (
            next(name for name, net in HOME.items() if net.contains(block))
            if home
            else draw(st.sampled_from("ab"))
        )
        made.append(
            Node(
                id=f"i-{index:02}",
                subnet=subnet,
                network_interface=f"eni-{index:02}",
                blocks=(block,),
                state=draw(st.sampled_from(list(NodeState))) if sick else NodeState.READY,
                health=draw(st.sampled_from(list(Health))) if sick else Health.HEALTHY,
                forwarder=draw(st.sampled_from(list(ForwarderPreference)))
                if sick
                else ForwarderPreference.ALLOW,
            )
        )
    return tuple(made)


@st.composite
def clusters(draw: st.DrawFn, *, home: bool, sick: bool = True) -> Cluster:
    """One table with random managed and foreign routes and a quota that they respect."""
    members = draw(nodes(home=home, sick=sick))
    interfaces = [node.network_interface for node in members] or ["eni-none"]
    places = st.builds(
        lambda bits, index: place(index % (1 << bits), bits), st.integers(0, BITS), st.integers(0, 15)
    )
    destinations = draw(st.lists(places, unique=True, max_size=7))
    foreign = draw(st.integers(0, 1))
    routes = [
        Route(destination, draw(st.sampled_from([*interfaces, "eni-gone"])), owned=number >= foreign)
        for number, destination in enumerate(destinations)
    ]
    spare = draw(st.integers(0, 4))
    table = RouteTable(
        id="rtb-1",
        routes=tuple(routes),
        quota=max(1, len(routes) + spare),
        reserve=draw(st.integers(0, 2)),
        subnets=draw(st.sampled_from([(), ("a",), ("a", "b")])),
    )
    subnets = tuple(Subnet(name, (net,) if home else ()) for name, net in HOME.items())
    return Cluster("test", (POD,), subnets, members, (table,))
