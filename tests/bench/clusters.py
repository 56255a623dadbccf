"""Big clusters for measuring: blocks at random places of a supernet half full, as after some churn."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, ForwarderPreference, Node, Plan, Route, RouteTable, Subnet

POD = Prefix.parse("10.0.0.0/8")
BLOCK = 26


def cluster(
    count: int, *, quota: int = 500, weighted: bool = False, foreign: int = 0, zones: int = 3, seed: int = 0
) -> Cluster:
    """*count* nodes in so many subnets, one table for all; *weighted*: Pareto weights, three capacities."""
    random = Random(seed)
    each = max(1, count // zones)
    length = BLOCK - (2 * each).bit_length()
    subnets: list[Subnet] = []
    nodes: list[Node] = []
    for zone in range(zones):
        net = Prefix(4, POD.value + (zone << (32 - length)), length)
        subnets.append(Subnet(f"subnet-{zone}", (net,)))
        free = sorted(random.sample(range(1 << (BLOCK - length)), each))
        nodes += [_node(random, zone, net, place, weighted=weighted) for place in free]
    last = 3 << (BLOCK - length)
    strange = {Prefix(4, POD.value + random.randrange(last) * 64, BLOCK) for _ in range(foreign)}
    routes = tuple(Route(place, "eni-foreign") for place in sorted(strange))
    table = RouteTable("rtb-1", routes, quota=quota + len(routes))
    return Cluster("bench", (POD,), tuple(subnets), tuple(nodes), (table,))


def _node(random: Random, zone: int, net: Prefix, place: int, *, weighted: bool) -> Node:
    return Node(
        id=f"i-{zone}-{place:06}",
        subnet=f"subnet-{zone}",
        network_interface=f"eni-{zone}-{place}",
        blocks=(Prefix(4, net.value + place * 64, BLOCK),),
        weight=random.paretovariate(1.2) if weighted else 1.0,
        capacity=random.choice([1.0, 2.0, 4.0]) if weighted else 1.0,
    )


def carried_out(before: Cluster, made: Plan) -> Cluster:
    """The cluster with the plan's routes in its tables."""
    tables = []
    for table, planned in zip(before.route_tables, made.route_tables, strict=True):
        others = [route for route in table.routes if not route.owned]
        ours = [Route(r.destination, r.network_interface, owned=True) for r in planned.routes]
        tables.append(replace(table, routes=(*others, *ours)))
    return replace(before, route_tables=tuple(tables))


def copied(of: Cluster, tables: int) -> Cluster:
    """So many tables with the routes of the first, so that a next hop has as many of each route."""
    return replace(
        of, route_tables=tuple(replace(of.route_tables[0], id=f"rtb-{n}") for n in range(1, tables + 1))
    )


def scattered(of: Cluster, supernets: int, forwarders: int) -> Cluster:
    """Each subnet's supernet in so many pieces far apart, and only so many of its nodes may relay."""
    subnets = []
    moved: dict[str, dict[Prefix, int]] = {}
    for zone, subnet in enumerate(of.subnets):
        (whole,) = subnet.supernets
        length = whole.length + (supernets - 1).bit_length()
        pieces = [Prefix(4, whole.value + (n << (32 - length)), length) for n in range(supernets)]
        apart = {
            piece: POD.value + ((n * len(of.subnets) + zone) * 2 << (32 - length))
            for n, piece in enumerate(pieces)
        }
        subnets.append(replace(subnet, supernets=tuple(Prefix(4, at, length) for at in apart.values())))
        moved[subnet.id] = apart
    left = {subnet.id: forwarders for subnet in of.subnets}
    nodes = []
    for node in of.nodes:
        (block,) = node.blocks
        piece, at = next(one for one in moved[node.subnet].items() if one[0].contains(block))
        may = left[node.subnet] > 0
        left[node.subnet] -= 1
        nodes.append(
            replace(
                node,
                blocks=(Prefix(4, at + block.value - piece.value, block.length),),
                forwarder=ForwarderPreference.ALLOW if may else ForwarderPreference.NEVER,
            )
        )
    return replace(of, subnets=tuple(subnets), nodes=tuple(nodes))


def churned(before: Cluster, joins: int, leaves: int, seed: int = 0) -> Cluster:
    """Some nodes leave at random, and others join in free places."""
    random = Random(seed)
    nodes = list(before.nodes)
    random.shuffle(nodes)
    nodes = nodes[leaves:]
    used = {node.blocks[0] for node in before.nodes}
    for number in range(joins):
        subnet = random.choice(before.subnets)
        net = subnet.supernets[0]
        place = net.value
        while Prefix(4, place, BLOCK) in used:
            place = net.value + random.randrange(net.size // 64) * 64
        used.add(Prefix(4, place, BLOCK))
        nodes.append(Node(f"i-new-{number}", subnet.id, f"eni-new-{number}", (Prefix(4, place, BLOCK),)))
    return replace(before, nodes=tuple(sorted(nodes, key=lambda node: node.id)))
