"""The plan document, which ``podway plan --output json`` prints (contract: plan/v1). Called by `offline`."""

from __future__ import annotations

from typing import Any

from podway.domain.model import Create, Delete, Plan, PlannedRoute, Replace, Step, TablePlan


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values, in a fixed order of keys."""
    return {
        "cluster": plan.cluster,
        "route_tables": [_table(table) for table in plan.route_tables],
        "warnings": list(plan.warnings),
    }


def _table(table: TablePlan) -> dict[str, Any]:
    return {
        "id": table.table,
        "budget": min(table.budget.values(), default=0),
        "routes": [_route(route) for route in table.routes],
        "steps": [_step(step) for step in table.steps],
        "direct_weight": _tidy(table.direct_weight),
        "total_weight": _tidy(table.total_weight),
        "max_relayed_load": _tidy(table.max_relayed_load),
        "holes": [str(hole.block) for hole in table.holes],
    }


def _tidy(number: float) -> float:
    """*number* without the rounding errors of added fractions."""
    return round(number, 9)


def _route(route: PlannedRoute) -> dict[str, Any]:
    return {
        "destination": str(route.destination),
        "next_hop": route.next_hop,
        "network_interface": route.network_interface,
        "kind": str(route.kind),
        "standbys": list(route.standbys),
        "reason": route.reason,
    }


def _step(step: Step) -> dict[str, str]:
    match step:
        case Create(destination, interface):
            return {"action": "create", "destination": str(destination), "network_interface": interface}
        case Replace(destination, interface):
            return {"action": "replace", "destination": str(destination), "network_interface": interface}
        case Delete(destination):
            return {"action": "delete", "destination": str(destination)}
