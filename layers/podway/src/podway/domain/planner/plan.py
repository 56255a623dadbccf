"""The plan for a whole cluster: table by table in order of their ids, loads passed on.

Reconcile asks once a run; so do the operator's commands, ``explain`` and the library's users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podway.domain.model import Cluster, Plan, TablePlan
from podway.domain.planner.draft import Allowance, Draft
from podway.domain.planner.next_hops import Loads
from podway.domain.routing import Facts, TableFacts
from podway.domain.transition.order import transition


def plan(cluster: Cluster, *, fresh: bool = False, improve: int | None = None) -> Plan:
    """What every table should hold, and the steps from what it holds now.

    Stable by default: the fewest steps within the load limit, then at most *improve* more to make
    weight direct. *fresh* ignores present next hops and prefixes (the steps still start from them).
    """
    families = [Facts(cluster, version) for version in sorted({cidr.version for cidr in cluster.pod_cidrs})]
    elsewhere: dict[int, float] = {}
    tables = []
    warnings: list[str] = []
    for table in sorted(cluster.route_tables, key=lambda table: table.id):
        here: dict[int, float] = {}
        drafts = []
        allowance = Allowance(improve)
        for facts in families:
            draft = Draft(TableFacts(table, facts), Loads(here, elsewhere), fresh=fresh)
            draft.make(allowance)
            drafts.append(draft)
        tables.append(_table_plan(cluster, drafts, here))
        warnings += [f"{table.id}: {warning}" for draft in drafts for warning in draft.warnings]
        for node, load in here.items():
            elsewhere[node] = elsewhere.get(node, 0.0) + load
    return Plan(cluster.name, tuple(tables), tuple(warnings))


def _table_plan(cluster: Cluster, drafts: Sequence[Draft], loads: Mapping[int, float]) -> TablePlan:
    routes = sorted(
        (route for draft in drafts for route in draft.routes), key=lambda route: route.destination
    )
    table = drafts[0].view.table
    families = [draft.view.facts for draft in drafts]
    return TablePlan(
        table=table.id,
        budget={draft.view.facts.version: draft.view.budget for draft in drafts},
        routes=tuple(routes),
        steps=transition(
            cluster,
            table,
            {route.destination: route.network_interface for route in routes},
            families=families,
        ),
        direct_weight=sum(draft.direct for draft in drafts),
        total_weight=sum(draft.total for draft in drafts),
        max_relayed_load=max(loads.values(), default=0.0),
        holes=tuple(hole for draft in drafts for hole in draft.holes),
    )
