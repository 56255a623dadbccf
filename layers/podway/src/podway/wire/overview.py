"""What the commands over AWS print with ``--output json``. Called by `cli.reading`.

Documents are plain values in a fixed order of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from podway.domain.health.verdict import Verdict
from podway.domain.operator.overview import NodeView, Overview, RouteView, TableView


def status_document(
    seen: Overview, *, last_run: datetime | None, released: bool, at: datetime
) -> dict[str, Any]:
    """The cluster in short: nodes by state, forwarders, tables, and what is wrong."""
    states: dict[str, int] = {}
    for node in seen.nodes:
        states[str(node.state)] = states.get(str(node.state), 0) + 1
    return {
        "cluster": seen.cluster,
        "released": released,
        "last_reconcile": _time(last_run),
        "last_reconcile_age_seconds": round((at - last_run).total_seconds()) if last_run else None,
        "nodes": dict(sorted(states.items())),
        "forwarders": list(seen.forwarders()),
        "unhealthy": [
            {"id": one.id, "health": str(one.health), "evidence": _evidence(one.verdict)}
            for one in seen.unhealthy()
        ],
        "frozen": dict(seen.frozen),
        "route_tables": [_table(table) for table in seen.tables],
        "warnings": list(seen.warnings),
    }


def nodes_document(seen: Overview) -> dict[str, Any]:
    """Every node."""
    return {"cluster": seen.cluster, "nodes": [_node(node) for node in seen.nodes]}


def routes_document(seen: Overview, table: str | None = None) -> dict[str, Any]:
    """Every route inside the pod CIDR, of all tables or of one."""
    routes = [_route(route) for route in seen.routes if table in (None, route.table)]
    return {"cluster": seen.cluster, "routes": routes}


def _table(table: TableView) -> dict[str, Any]:
    return {
        "id": table.id,
        "subnets": list(table.subnets),
        "quota": table.quota,
        "routes": _families(table.routes),
        "budget": _families(table.budget),
        "steps": table.steps,
        "holes": [{"block": str(hole.block), "reason": hole.reason} for hole in table.holes],
    }


def _families(counts: Mapping[int, int]) -> dict[str, int]:
    return {f"ipv{family}": count for family, count in sorted(counts.items())}


def _node(node: NodeView) -> dict[str, Any]:
    return {
        "id": node.id,
        "subnet": node.subnet,
        "network_interface": node.network_interface,
        "address": node.address,
        "state": str(node.state),
        "health": str(node.health),
        "blocks": [{"block": str(one.prefix), "ready": one.ready} for one in node.blocks],
        "routes": node.routes,
        "forwards": node.forwards,
        "spot": node.spot,
        "acknowledged": node.heard.generation if node.heard else None,
        "newest": node.newest,
        "heartbeat": _time(node.heard.at) if node.heard else None,
        "evidence": _evidence(node.verdict),
        "flaps": node.verdict.flaps if node.verdict else 0,
        "held_until": _time(node.verdict.held_until) if node.verdict else None,
    }


def _route(route: RouteView) -> dict[str, Any]:
    return {
        "route_table": route.table,
        "destination": str(route.destination),
        "target": route.target,
        "next_hop": route.next_hop,
        "ownership": str(route.ownership),
        "kind": str(route.kind) if route.kind else None,
        "state": str(route.state),
        "wanted": route.wanted,
        "standbys": list(route.standbys),
    }


def _evidence(verdict: Verdict | None) -> list[dict[str, Any]]:
    found = sorted(verdict.evidence.items()) if verdict else []
    return [
        {"source": source, "severity": one.severity.name.lower(), "at": _time(one.at), "detail": one.detail}
        for source, one in found
    ]


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
