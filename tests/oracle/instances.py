"""Small random clusters from a seed: the same seed, the same cluster, on every machine."""

from __future__ import annotations

from random import Random

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
KINDS = ("mono", "interleaved", "home", "borrowed", "mixed", "foreign", "weighted", "own", "sick", "unequal")


def place(index: int, bits: int) -> Prefix:
    """The *index*-th of the 2**bits equal parts of the pod CIDR."""
    return Prefix(4, POD.value + (index << (8 - bits)), 24 + bits)


SUPERNETS: dict[str, dict[str, tuple[Prefix, ...]]] = {
    "mono": {"a": (place(0, 0),)},
    "interleaved": {"a": (), "b": ()},
    "home": {"a": (place(0, 1),), "b": (place(2, 2),), "c": (place(6, 3), place(7, 3))},
    "borrowed": {"a": (place(0, 1),), "b": (place(2, 2), place(3, 3))},
    "mixed": {"a": (place(0, 1),), "b": ()},
}


def instance(kind: str, seed: int) -> Cluster:
    """One table, up to seven blocks in eight places."""
    random = Random(f"{kind}/{seed}")
    shape = kind if kind in SUPERNETS else random.choice(sorted(SUPERNETS))
    nets = SUPERNETS[shape]
    nodes: list[Node] = []
    for index in range(8):
        subnet = subnet_of(random, nets, place(index, 3))
        if subnet is not None and random.random() < 0.65 and len(nodes) < 7:
            nodes.append(_node(random, kind, index, subnet))
    routes = []
    if kind == "foreign" or (kind in {"sick", "weighted"} and random.random() < 0.3):
        bits = random.randint(0, 3)
        routes.append(Route(place(random.randrange(1 << bits), bits), "eni-foreign"))
    own = ("a",) if kind == "own" else ()
    table = RouteTable("rtb-1", tuple(routes), own, quota=random.randint(1, 5) + len(routes), reserve=0)
    subnets = tuple(Subnet(name, prefixes) for name, prefixes in nets.items())
    return Cluster(kind, (POD,), subnets, tuple(nodes), (table,))


def subnet_of(random: Random, nets: dict[str, tuple[Prefix, ...]], block: Prefix) -> str | None:
    around = [(net.length, name) for name, several in nets.items() for net in several if net.contains(block)]
    free = [name for name, several in nets.items() if not several]
    if around and not (free and random.random() < 0.3):
        return max(around)[1]
    return random.choice(free) if free else None


def _node(random: Random, kind: str, index: int, subnet: str) -> Node:
    sick = kind == "sick"
    return Node(
        id=f"i-{index}",
        subnet=subnet,
        network_interface=f"eni-{index}",
        blocks=(place(index, 3),),
        state=random.choice(list(NodeState)) if sick and random.random() < 0.3 else NodeState.READY,
        health=random.choice(list(Health)) if sick and random.random() < 0.3 else Health.HEALTHY,
        forwarder=random.choice(list(ForwarderPreference)) if sick else ForwarderPreference.ALLOW,
        weight=random.choice([0, 1, 2, 3, 5, 8, 0.5]) if kind in {"weighted", "unequal"} else 1.0,
        capacity=random.choice([1.0, 2.0, 5.0]) if kind == "unequal" else 1.0,
    )
