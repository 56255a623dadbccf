"""Clusters of a dozen blocks and more, from a seed: too many for brute force, few enough for CP-SAT."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Node, RouteTable, Subnet

POD = Prefix.parse("100.64.0.0/18")
BLOCK = 26
PLACES = 1 << (BLOCK - POD.length)
KINDS = ("home", "weighted", "interleaved", "interleaved-weighted", "unequal")
"""The last with unequal capacities, where the planner does not promise the optimum."""

EXACT = ("home", "weighted", "interleaved", "interleaved-weighted")


def block(index: int) -> Prefix:
    """The *index*-th block of the pod CIDR."""
    return Prefix(4, POD.value + index * 64, BLOCK)


SUPERNETS = {
    "a": (Prefix(4, POD.value, 19),),
    "b": (Prefix(4, POD.value + (PLACES // 2) * 64, 20),),
    "c": (Prefix(4, POD.value + (PLACES // 4 * 3) * 64, 20),),
}


def medium(kind: str, seed: int) -> Cluster:
    """One table, 13 to 18 blocks (fewer with unequal capacities); adopted subnets have runs of neighbours."""
    random = Random(f"medium/{kind}/{seed}")
    places = sorted(
        random.sample(range(PLACES), random.randint(*((8, 10) if kind == "unequal" else (13, 18))))
    )
    adopted = kind.startswith("interleaved")
    nodes = []
    subnet = "a"
    for index in places:
        if adopted:
            subnet = random.choice("abc") if random.random() < 0.2 else subnet
        else:
            subnet = next(name for name, nets in SUPERNETS.items() if nets[0].contains(block(index)))
        weighted = kind in {"weighted", "interleaved-weighted", "unequal"}
        nodes.append(
            Node(
                id=f"i-{index:03}",
                subnet=subnet,
                network_interface=f"eni-{index:03}",
                blocks=(block(index),),
                weight=float(random.choice([1, 2, 3, 5, 8, 13])) if weighted else 1.0,
                capacity=random.choice([1.0, 2.0, 4.0]) if kind == "unequal" else 1.0,
            )
        )
    runs = 1 + sum(one.subnet != other.subnet for one, other in pairwise(nodes))
    least = runs if adopted else 3
    quota = random.randint(least, least + len(nodes) // 3)
    subnets = tuple(Subnet(name, () if adopted else nets) for name, nets in SUPERNETS.items())
    table = RouteTable("rtb-1", (), quota=quota, reserve=0)
    return Cluster(f"{kind}-{seed}", (POD,), subnets, tuple(nodes), (table,))
