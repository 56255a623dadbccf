"""Changes between two tables of the planner in home mode: is every one hitless, and as short as can be?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Health, Node, NodeState, Route, RouteTable, Subnet
from podway.domain.planner.plan import plan
from podway.domain.transition.verify import verify_transition

POD = Prefix.parse("100.64.0.0/16")
SUPERNETS = {
    "a": (Prefix.parse("100.64.0.0/18"),),
    "b": (Prefix.parse("100.64.64.0/19"), Prefix.parse("100.64.192.0/20")),
    "c": (Prefix.parse("100.64.128.0/19"),),
}
SUPERNET_COUNT = 4


@dataclass(frozen=True)
class Change:
    """The steps of one, and what is wrong with them."""

    steps: int
    wrong: str


def changed_at_home(seed: int, *, fresh: bool) -> Change:
    """Plan, carry it out, let nodes fail, drain, leave and join, and plan again."""
    random = Random(f"changes/{seed}")
    nodes = _nodes(random, random.randint(20, 160))
    quota = random.randint(SUPERNET_COUNT + 1, SUPERNET_COUNT + 40)
    own = random.choice([(), ("a",), ("b", "c")])
    table = RouteTable("rtb-1", (), own, quota=quota, reserve=1)
    before = Cluster("home", (POD,), tuple(Subnet(*pair) for pair in SUPERNETS.items()), nodes, (table,))
    first = plan(before).route_tables[0]
    have = {route.destination: route.network_interface for route in first.routes}
    table = replace(table, routes=tuple(Route(place, to, owned=True) for place, to in have.items()))
    after = replace(before, nodes=_later(random, nodes), route_tables=(table,))
    second = plan(after, fresh=fresh).route_tables[0]
    if first.holes or second.holes:
        return Change(0, "a hole, though every supernet may have its anchor")
    want = {route.destination: route.network_interface for route in second.routes}
    differing = sum(have.get(place) != want.get(place) for place in have.keys() | want.keys())
    breaches = verify_transition(after, table, second.steps)
    wrong = str(breaches[0]) if breaches else ""
    if not wrong and len(second.steps) != differing:
        wrong = f"{len(second.steps)} steps, {differing} entries differ"
    return Change(len(second.steps), f"changes/{seed} fresh={fresh}: {wrong}" if wrong else "")


def _nodes(
    random: Random, count: int, number: int = 0, used: frozenset[Prefix] = frozenset()
) -> tuple[Node, ...]:
    free = [
        (Prefix(4, net.value + 64 * index, 26), subnet)
        for subnet, nets in SUPERNETS.items()
        for net in nets
        for index in range(net.size // 64)
    ]
    chosen = random.sample([place for place in free if place[0] not in used], count)
    return tuple(
        Node(
            f"i-{number + at:04}",
            subnet,
            f"eni-{number + at}",
            (block,),
            weight=random.choice([1.0, 1.0, 4.0]),
        )
        for at, (block, subnet) in enumerate(chosen)
    )


def _later(random: Random, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """At least one healthy node stays in every subnet."""
    stays = {next((node.id for node in nodes if node.subnet == subnet), "") for subnet in SUPERNETS}
    found = []
    for node in nodes:
        what = random.random()
        if node.id in stays or what > 0.3:
            found.append(node)
        elif what > 0.2:
            found.append(replace(node, health=Health.FAILED))
        elif what > 0.15:
            found.append(replace(node, state=NodeState.DRAINING))
    used = frozenset(node.blocks[0] for node in nodes)
    return (*found, *_nodes(random, random.randint(0, 20), number=1000, used=used))
