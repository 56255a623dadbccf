"""Every order of changes that there is: four places, two subnets, temporaries allowed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import product
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Node, Route, RouteTable, Subnet
from podway.domain.transition.order import transition
from podway.domain.transition.verify import verify_transition

POD = Prefix.parse("100.64.0.0/24")
PLACES = [POD, *POD.halves(), *(q for half in POD.halves() for q in half.halves())]
Table = tuple[str | None, ...]
"""Per place: no route, or the interface it leads to."""


def cluster_of(random: Random) -> Cluster:
    owners = [random.choice(["a", "b", None]) for _ in range(4)]
    blocks = {
        name: tuple(PLACES[3 + i] for i, owner in enumerate(owners) if owner == name) for name in ("a", "b")
    }
    nodes = tuple(Node(f"i-{name}", name, f"eni-{name}", blocks[name]) for name in ("a", "b"))
    return Cluster("orders", (POD,), (Subnet("a", ()), Subnet("b", ())), nodes, ())


def good(cluster: Cluster, table: Table) -> frozenset[int]:
    """The places of blocks that are reachable."""
    found = set()
    for node in cluster.nodes:
        for block in node.blocks:
            around = [at for at, place in enumerate(PLACES) if table[at] and place.contains(block)]
            if around and table[max(around)] == node.network_interface:
                found.add(PLACES.index(block))
    return frozenset(found)


def fewest_calls(cluster: Cluster, start: Table, goal: Table, quota: int) -> int | None:
    """The length of the shortest hitless order within the quota; None if there is none."""
    queue = deque([(start, 0)])
    seen = {start}
    while queue:
        table, calls = queue.popleft()
        if table == goal:
            return calls
        reached = good(cluster, table)
        for at in range(len(PLACES)):
            for target in (None, "eni-a", "eni-b"):
                after = (*table[:at], target, *table[at + 1 :])
                if after in seen or sum(1 for entry in after if entry) > quota:
                    continue
                if reached <= good(cluster, after):
                    seen.add(after)
                    queue.append((after, calls + 1))
    return None


def covering(cluster: Cluster, most: int) -> list[Table]:
    """All tables of at most so many routes under which every block is reachable."""
    wanted = sum(len(node.blocks) for node in cluster.nodes)
    tables = product((None, "eni-a", "eni-b"), repeat=len(PLACES))
    few = (table for table in tables if sum(1 for entry in table if entry) <= most)
    return [table for table in few if len(good(cluster, table)) == wanted]


def case(seed: int) -> tuple[Cluster, RouteTable, Table, Table]:
    random = Random(seed)
    cluster = cluster_of(random)
    start, goal = random.choices(covering(cluster, random.randint(2, 4)) or [(None,) * len(PLACES)], k=2)
    held = [sum(1 for entry in table if entry) for table in (start, goal)]
    routes = tuple(Route(PLACES[at], entry, owned=True) for at, entry in enumerate(start) if entry)
    return cluster, RouteTable("rtb-1", routes, quota=max(1, *held) + random.randint(0, 1)), start, goal


@dataclass(frozen=True)
class Order:
    """How the steps of a case compare with the shortest hitless order; *least* is None if there is none."""

    least: int | None
    steps: int
    differing: int
    wrong: str


def compared(seed: int) -> Order:
    """The steps of that case, next to every order there is."""
    cluster, table, start, goal = case(seed)
    steps = transition(cluster, table, {PLACES[at]: entry for at, entry in enumerate(goal) if entry})
    breaches = verify_transition(cluster, table, steps)
    least = fewest_calls(cluster, start, goal, table.quota)
    wrong = ""
    if any(breach.invariant != "I1" for breach in breaches):
        wrong = f"{breaches}"
    elif bool(breaches) != (least is None):
        wrong = f"holes {breaches}, though the shortest hitless order has {least} calls"
    elif least is not None and len(steps) != least:
        wrong = f"{len(steps)} steps instead of {least}"
    differing = sum(1 for old, new in zip(start, goal, strict=True) if old != new)
    return Order(least, len(steps), differing, wrong)
