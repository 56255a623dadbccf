"""The same problem for CP-SAT (OR-tools): which prefixes, which next hops; proven optimal.

Only for recording the corpus and for ``make bench``; OR-tools is no part of ``make setup`` (see
``requirements/solver.in``). One block per node; whole numbers for weights and capacities.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Node

UNIT = 4
"""Loads are counted in quarters: divisible by every capacity that the instances have."""


@dataclass(frozen=True)
class Optimum:
    """The busiest next hop's relayed weight / capacity, and the most direct weight at that; proven or not."""

    busiest: float
    direct: float
    proven: bool


def candidates(cluster: Cluster) -> list[Prefix]:
    """Where a route can make a difference: blocks, supernets, and where the trie branches."""
    blocks = sorted(node.blocks[0] for node in cluster.nodes)
    found = set(blocks) | {net for subnet in cluster.subnets for net in subnet.supernets}
    for one, other in pairwise(blocks):
        length = 32 - (one.value ^ other.value).bit_length()
        found.add(one.at(length))
    return sorted(found)


def subnets_at(cluster: Cluster, prefix: Prefix) -> set[str]:
    """Whose routes may stand there: in home mode the supernet's, else anybody's with blocks inside."""
    homes = {s.id for s in cluster.subnets for net in s.supernets if net.contains(prefix)}
    if any(subnet.supernets for subnet in cluster.subnets):
        return homes
    return {node.subnet for node in cluster.nodes if prefix.contains(node.blocks[0])}


class Formulation:
    """Variables and constraints; :meth:`solve` once."""

    def __init__(self, cluster: Cluster) -> None:
        from ortools.sat.python import cp_model

        self.cp: Any = cp_model
        self.cluster = cluster
        self.even = len({node.capacity for node in cluster.nodes}) == 1
        self.model: Any = cp_model.CpModel()
        table = cluster.route_tables[0]
        self.routes: dict[tuple[Prefix, str], Any] = {
            (place, subnet): self.model.new_bool_var(f"route {place} {subnet}")
            for place in candidates(cluster)
            for subnet in sorted(subnets_at(cluster, place))
        }
        self.model.add(sum(self.routes.values()) <= table.quota - table.reserve)
        self._one_subnet_a_place()
        self.caught = self._longest_match()
        self.hops = self._next_hops()

    def _places(self) -> list[Prefix]:
        return sorted({place for place, _ in self.routes})

    def _at(self, place: Prefix) -> Iterable[Any]:
        return [var for (other, _), var in self.routes.items() if other == place]

    def _one_subnet_a_place(self) -> None:
        for place in self._places():
            self.model.add_at_most_one(self._at(place))

    def _longest_match(self) -> dict[tuple[Node, Prefix], Any]:
        """A block is caught by the longest route around it, which must be its subnet's."""
        caught = {}
        for node in self.cluster.nodes:
            around = [place for place in self._places() if place.contains(node.blocks[0])]
            for place in around:
                own = self.routes.get((place, node.subnet))
                if own is None:
                    continue
                var = caught[node, place] = self.model.new_bool_var(f"{node.id} by {place}")
                self.model.add_implication(var, own)
                for longer in around:
                    if longer.length > place.length:
                        for other in self._at(longer):
                            self.model.add_implication(var, other.negated())
            self.model.add_exactly_one(var for (who, _), var in caught.items() if who is node)
        return caught

    def _next_hops(self) -> dict[tuple[Prefix, Node], Any]:
        """Every route has one next hop, of its subnet.

        With equal capacities one of the owners in its part: nobody else could relay less.
        """
        hops = {}
        for (place, subnet), route in self.routes.items():
            here = [node for node in self.cluster.nodes if node.subnet == subnet]
            if self.even:
                here = [node for node in here if (node, place) in self.caught]
            for node in here:
                hops[place, node] = self.model.new_bool_var("")
                if self.even:
                    self.model.add_implication(hops[place, node], self.caught[node, place])
            self.model.add(sum(hops[place, node] for node in here) <= route)
            if not self.even:
                self.model.add(sum(hops[place, node] for node in here) == route)
        return hops

    def _part(self, place: Prefix, subnet: str) -> Any:
        """What the part of a route weighs."""
        return sum(
            int(node.weight) * var
            for (node, where), var in self.caught.items()
            if where == place and node.subnet == subnet
        )

    def _evenly(self) -> tuple[list[Any], Any]:
        """Loads in quarters, and the direct weight: every next hop serves one part, its own block in it."""
        loads = []
        direct = []  # no +=: OR-tools would change the term that came first
        for place, subnet in self.routes:
            mine = sum(
                int(node.weight) * hop
                for (where, node), hop in self.hops.items()
                if where == place and node.subnet == subnet
            )
            loads.append((self._part(place, subnet) - mine) * UNIT)
            direct.append(mine)
        return loads, sum(direct)

    def _unevenly(self) -> tuple[list[Any], Any]:
        """The same where a strong node may serve several parts, and such as it owns nothing of."""
        total = int(sum(node.weight for node in self.cluster.nodes))
        relayed: dict[Node, list[Any]] = {}
        direct = []
        for (place, node), hop in self.hops.items():
            mine: Any = 0
            if (node, place) in self.caught:
                own = self.model.new_bool_var("")
                self.model.add_implication(own, hop)
                self.model.add_implication(own, self.caught[node, place])
                mine = int(node.weight) * own
                direct.append(mine)
            load = self.model.new_int_var(0, total, "")
            self.model.add(load >= self._part(place, node.subnet) - mine - total * (1 - hop))
            relayed.setdefault(node, []).append(load)
        quarters = {node: UNIT // int(node.capacity) for node in relayed}
        return [sum(loads) * quarters[node] for node, loads in relayed.items()], sum(direct)

    def solve(self, effort: float) -> Optimum | None:
        """The optimum in (busiest, direct), or the best found with that effort; None if nothing was."""
        loads, direct = self._evenly() if self.even else self._unevenly()
        total = int(sum(node.weight for node in self.cluster.nodes))
        busiest = self.model.new_int_var(0, total * UNIT, "busiest")
        for load in loads:
            self.model.add(busiest >= load)
        self.model.minimize(busiest)
        first = self._solver(effort)
        if first.solve(self.model) not in {self.cp.OPTIMAL, self.cp.FEASIBLE}:
            return None
        proven = first.response_proto.status == self.cp.OPTIMAL
        self.model.add(busiest <= round(first.objective_value))
        self.model.maximize(direct)
        second = self._solver(effort)
        status = second.solve(self.model)
        if status not in {self.cp.OPTIMAL, self.cp.FEASIBLE}:
            return None
        proven = proven and status == self.cp.OPTIMAL
        return Optimum(round(first.objective_value) / UNIT, float(round(second.objective_value)), proven)

    def _solver(self, effort: float) -> Any:
        solver = self.cp.CpSolver()
        solver.parameters.max_deterministic_time = effort
        solver.parameters.num_workers = 1
        solver.parameters.random_seed = 1
        return solver


def solved(cluster: Cluster, *, effort: float = 1.0) -> Optimum | None:
    """CP-SAT's answer; *effort* is deterministic time: a loaded machine gives the same answer."""
    return Formulation(cluster).solve(effort)
