"""The oracle: every set of routes that a small table could hold, judged by the contract's own words.

Addresses are bits of a mask, prefixes are masks, and nothing is shared with the planner but the values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Node, RouteTable

Option = tuple[str, float, float]
"""A node that may take a part: its id, what it would relay / capacity, the direct weight."""

WEIGHTLESS = 1e-5
"""What a block of no weight counts for: leaving it bare is still a hole."""

Score = tuple[float, float, float]
"""Weight left bare, busiest next hop, minus direct weight: the smaller, the better."""


@dataclass(frozen=True)
class World:
    """A cluster with one IPv4 pod CIDR of at most 16 smallest places, and one table."""

    cluster: Cluster
    table: RouteTable

    @property
    def pod(self) -> Prefix:
        return self.cluster.pod_cidrs[0]

    def mask(self, prefix: Prefix, unit: int) -> int:
        known = self.masks.get(prefix)
        if known is None:
            known = self.masks[prefix] = self._mask(prefix, unit)
        return known

    @cached_property
    def masks(self) -> dict[Prefix, int]:
        return {}

    def _mask(self, prefix: Prefix, unit: int) -> int:
        start = (prefix.value - self.pod.value) // unit
        return ((1 << max(1, prefix.size // unit)) - 1) << start

    @cached_property
    def unit(self) -> int:
        return min([self.pod.size, *(block.size for node in self.cluster.nodes for block in node.blocks)])

    @property
    def own(self) -> str | None:
        return self.table.subnets[0] if len(self.table.subnets) == 1 else None

    @property
    def foreign(self) -> list[Prefix]:
        return [
            r.destination
            for r in self.table.routes
            if isinstance(r.destination, Prefix) and not r.owned and self.pod.contains(r.destination)
        ]

    @property
    def budget(self) -> int:
        counted = [
            r
            for r in self.table.routes
            if not r.owned and r.origin not in {"EnableVgwRoutePropagation", "Advertisement"}
        ]
        return max(0, self.table.quota - len(counted) - self.table.reserve)


def in_service(node: Node) -> bool:
    return node.state in {"ready", "draining"} and node.health != "failed"


def eligible(node: Node) -> bool:
    return node.state == "ready" and node.health == "healthy" and node.forwarder != "never"


class Judge:
    """Everything about a world that does not depend on the routes, and the verdict on a set of them."""

    def __init__(self, world: World, *, home: bool) -> None:
        self.world = world
        self.home = home
        self._known: dict[tuple[int, int], tuple[list[Option], float]] = {}
        unit = world.unit
        nodes = world.cluster.nodes
        self.blocks = [
            (world.mask(block, unit), node, node.weight / len(node.blocks))
            for node in nodes
            if in_service(node) and node.subnet != world.own
            for block in node.blocks
        ]
        self.total = sum(weight or WEIGHTLESS for _, _, weight in self.blocks)
        self.subnets = sorted(
            {node.subnet for node in nodes} | {subnet.id for subnet in world.cluster.subnets}
        )
        self.forbidden = {name: self._forbidden(name, unit) for name in self.subnets}
        self.foreign = [(world.mask(prefix, unit), prefix) for prefix in world.foreign]
        self.able = {name: [n for n in nodes if eligible(n) and n.subnet == name] for name in self.subnets}

    def _forbidden(self, name: str, unit: int) -> int:
        """Addresses that a route to *name* must not take."""
        world = self.world
        spaces = sorted(
            ((prefix, subnet.id) for subnet in world.cluster.subnets for prefix in subnet.supernets),
            key=lambda pair: pair[0].length,
        )
        owner: dict[int, str] = {}
        for prefix, subnet in spaces:
            for bit in range(world.pod.size // unit):
                if world.mask(prefix, unit) >> bit & 1:
                    owner[bit] = subnet
        for node in world.cluster.nodes:
            for block in node.blocks:
                for bit in range(world.pod.size // unit):
                    if world.mask(block, unit) >> bit & 1:
                        owner[bit] = node.subnet
        has_home = any(subnet == name for _, subnet in spaces)
        mask = 0
        for bit in range(world.pod.size // unit):
            holder = owner.get(bit)
            if (holder is None and has_home) or (holder is not None and holder != name):
                mask |= 1 << bit
        return mask

    def options(self, routes: tuple[Prefix, ...]) -> list[tuple[Prefix, list[Option], float]] | None:
        """Per route: who may be its next hop at what price, and the weight it catches; None if nobody may."""
        taken = 0
        found = []
        shown = [(self.world.mask(prefix, self.world.unit), prefix, False) for prefix in routes]
        shown += [(mask, prefix, True) for mask, prefix in self.foreign]
        for mask, prefix, is_foreign in sorted(shown, key=lambda entry: -entry[1].length):
            exposed = mask & ~taken
            taken |= mask
            if not is_foreign:
                known = self._known.get((mask, exposed))
                if known is None:
                    known = self._known[mask, exposed] = self._options(mask, exposed)
                options, weight = known
                if not options:
                    return None
                found.append((prefix, options, weight))
        return found

    def score(self, routes: tuple[Prefix, ...], *, beat: Score | None = None) -> Score | None:
        """The best score of these destinations over all next hops; None if some route is not allowed.

        None as well where even the best next hop of every route by itself would not beat *beat*.
        """
        parts = self.options(routes)
        if parts is None:
            return None
        bare = round(self.total - sum(weight for _, _, weight in parts), 6)
        choices = [options for _, options, _ in parts]
        least = round(max((min(load for _, load, _ in several) for several in choices), default=0.0), 6)
        most = round(-sum(max(direct for _, _, direct in several) for several in choices), 6)
        if beat is not None and (bare, least, most) >= beat:
            return None
        best = min(self._combined(choices), default=(0.0, 0.0))
        return (bare, *best)

    def score_of(self, routes: dict[Prefix, str]) -> Score | None:
        """The score of a finished plan (destination to node id); None if it breaks a rule."""
        parts = self.options(tuple(routes))
        loads: dict[str, float] = {}
        direct = covered = 0.0
        for prefix, options, weight in parts or ():
            mine = next((option for option in options if option[0] == routes[prefix]), None)
            if mine is None:
                return None
            loads[mine[0]] = loads.get(mine[0], 0.0) + mine[1]
            direct += mine[2]
            covered += weight
        if parts is None:
            return None
        busiest = round(max(loads.values(), default=0.0), 6)
        return (round(self.total - covered, 6), busiest, round(-direct, 6))

    def _options(self, mask: int, exposed: int) -> tuple[list[Option], float]:
        """(next hop, relayed / capacity, direct weight) for every node that may take the part."""
        part = [block for block in self.blocks if block[0] & exposed == block[0] and block[0] & mask]
        owners = {node.subnet for _, node, _ in part}
        weight = sum(w for _, _, w in part)
        if len(owners) > 1:
            return [], 0.0
        names = owners or set(self.subnets)
        options = []
        for name in sorted(names):
            if exposed & self.forbidden[name] or (self.home and not self._at_home(mask, name)):
                continue
            candidates = {node.id: node for node in self.able[name]}
            if len({node.id for _, node, _ in part}) == 1:
                candidates[part[0][1].id] = part[0][1]
            for node in candidates.values():
                own = sum(w for _, owner, w in part if owner.id == node.id)
                options.append((node.id, (weight - own) / node.capacity, own))
        return options, sum(w or WEIGHTLESS for _, _, w in part)

    def _at_home(self, mask: int, name: str) -> bool:
        nets = [net for subnet in self.world.cluster.subnets if subnet.id == name for net in subnet.supernets]
        return not nets or any(mask & ~self.world.mask(net, self.world.unit) == 0 for net in nets)

    @staticmethod
    def _combined(loads: list[list[Option]]) -> Iterator[tuple[float, float]]:
        """(busiest, minus direct) over the choices; options that another beats outright are left out."""
        trimmed = []
        for options in loads:
            best = min(options, key=lambda o: (o[1], -o[2]))
            clash_free = [o for o in options if o[2] > 0 or o[1] <= best[1]]
            trimmed.append(clash_free if len(options) < 4 else clash_free[:4])
        for picks in product(*loads if len(loads) < 4 else trimmed):
            sums: dict[str, float] = {}
            for node, load, _ in picks:
                sums[node] = sums.get(node, 0.0) + load
            yield (
                round(max(sums.values(), default=0.0), 6),
                round(-sum(direct for _, _, direct in picks), 6),
            )


def candidates(world: World) -> list[Prefix]:
    """Every prefix of the pod CIDR down to the smallest block, but the foreign ones."""
    foreign = set(world.foreign)
    found = []
    level = [world.pod]
    while level and level[0].size >= world.unit:
        found += [prefix for prefix in level if prefix not in foreign]
        level = [half for prefix in level if prefix.size > 1 for half in prefix.halves()]
    return found


def best(world: World, *, home: bool = False) -> Score:
    """The best score that any set of routes within the budget has."""
    judge = Judge(world, home=home)
    places = candidates(world)
    found = judge.score(())
    assert found is not None
    for count in range(1, min(world.budget, len(judge.blocks) + 2, len(places)) + 1):
        for routes in combinations(places, count):
            score = judge.score(routes, beat=found)
            if score is not None and score < found:
                found = score
    return found
