"""The plan for a whole cluster: table by table in order of their ids, loads passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Hole, Plan, PlannedRoute, RouteKind, TablePlan
from podway.domain.planner.choice import choose_prefixes
from podway.domain.planner.next_hops import Chooser, Loads, Part, part_of
from podway.domain.planner.parts import parts
from podway.domain.routing import Block, Facts, TableFacts
from podway.domain.transition import transition


def plan(cluster: Cluster, *, fresh: bool = False, improve: int | None = None) -> Plan:
    """What every table should hold, and the steps from what it holds now.

    Stable by default: the fewest steps within the load limit, then at most *improve* more to make
    weight direct. *fresh* ignores present next hops and prefixes (the steps still start from them).
    """
    families = [Facts(cluster, version) for version in sorted({cidr.version for cidr in cluster.pod_cidrs})]
    loads: dict[int, float] = {}
    tables = []
    warnings: list[str] = []
    for table in sorted(cluster.route_tables, key=lambda table: table.id):
        drafts = [Draft(TableFacts(table, facts), fresh=fresh, improve=improve) for facts in families]
        here: dict[int, float] = {}
        for draft in drafts:
            draft.make(Loads(here=here, elsewhere=loads))
        tables.append(_table_plan(cluster, drafts, here))
        warnings += [f"{table.id}: {warning}" for draft in drafts for warning in draft.warnings]
        for node, load in here.items():
            loads[node] = loads.get(node, 0.0) + load
    return Plan(cluster.name, tuple(tables), tuple(warnings))


def _table_plan(cluster: Cluster, drafts: Sequence[Draft], loads: Mapping[int, float]) -> TablePlan:
    routes = sorted(
        (route for draft in drafts for route in draft.routes), key=lambda route: route.destination
    )
    table = drafts[0].view.table
    return TablePlan(
        table=table.id,
        budget={draft.view.facts.version: draft.view.budget for draft in drafts},
        routes=tuple(routes),
        steps=transition(cluster, table, {route.destination: route.network_interface for route in routes}),
        direct_weight=sum(draft.direct for draft in drafts),
        total_weight=sum(draft.total for draft in drafts),
        max_relayed_load=max(loads.values(), default=0.0),
        holes=tuple(hole for draft in drafts for hole in draft.holes),
    )


class Draft:
    """The routes of one table and family while they are being decided."""

    def __init__(self, view: TableFacts, *, fresh: bool, improve: int | None) -> None:
        self.view = view
        self.fresh = fresh
        self.improve = improve
        self.routes: list[PlannedRoute] = []
        self.holes: list[Hole] = []
        self.warnings: list[str] = []
        self.direct = 0.0
        self.total = 0.0

    def make(self, loads: Loads) -> None:
        """Decide prefixes and next hops; account for weight, holes and what deserves a warning."""
        facts = self.view.facts
        own = self.view.own_subnet
        chosen = choose_prefixes(self.view)
        caught, _ = parts(chosen, facts.blocks, self.view.foreign)
        chooser = Chooser(facts, loads)
        ready = []
        for prefix, subnet in sorted(chosen.items()):
            part = part_of(prefix, subnet, caught[prefix], counted=subnet != own)
            ready.append((part, self._kept(chooser, part)))
        for part, hop in ready:
            if hop is not None:
                chooser.add(part, hop)
        for part, hop in sorted(ready, key=lambda item: (-item[0].weight, item[0].destination)):
            node = chooser.choose(part) if hop is None else hop
            if node is not None:
                self.routes.append(self._route(chooser, part, node, kept=hop is not None))
        self._account()

    def _kept(self, chooser: Chooser, part: Part) -> int | None:
        """The present next hop, if it may stay."""
        present = self.view.targets.get(part.destination)
        if self.fresh or present is None or not chooser.may_take(part, present):
            return None
        if chooser.is_behind(part, present):
            return None
        return present

    def _route(self, chooser: Chooser, part: Part, node: int, *, kept: bool) -> PlannedRoute:
        hop = self.view.facts.nodes[node]
        kind = RouteKind.DIRECT if part.blocks and part.sole == node else RouteKind.AGGREGATED
        how = f"{len(part.blocks)} blocks of {part.subnet}"
        return PlannedRoute(
            destination=part.destination,
            next_hop=hop.id,
            network_interface=hop.network_interface,
            kind=kind,
            standbys=chooser.standbys(part, node),
            reason=f"{how}, next hop kept" if kept else how,
        )

    def _account(self) -> None:
        facts = self.view.facts
        own = self.view.own_subnet
        caught, missed = parts((route.destination for route in self.routes), facts.blocks, self.view.foreign)
        self.total = sum((b.weight for b in facts.blocks if facts.nodes[b.node].subnet != own), 0.0)
        for route in self.routes:
            hop = facts.number[route.next_hop]
            if facts.nodes[hop].subnet != own:
                self.direct += sum(b.weight for b in caught[route.destination] if b.node == hop)
        for block in missed:
            self._miss(block)

    def _miss(self, block: Block) -> None:
        facts = self.view.facts
        subnet = facts.nodes[block.node].subnet
        reason = self._why(block)
        if subnet == self.view.own_subnet:
            self.warnings.append(f"{block.prefix} of the table's own subnet {subnet} has no anchor: {reason}")
            return
        self.holes.append(Hole(block.prefix, reason))
        self.warnings.append(f"{block.prefix} of {facts.nodes[block.node].id} is a hole: {reason}")

    def _why(self, block: Block) -> str:
        foreign = self._captor(block.prefix)
        if foreign is not None:
            return f"foreign route {foreign} to {self.view.foreign[foreign].target} captures it"
        return f"the budget of {self.view.budget} routes is too small"

    def _captor(self, prefix: Prefix) -> Prefix | None:
        around = [other for other in self.view.foreign if other.contains(prefix)]
        return max(around, key=lambda other: other.length, default=None)
