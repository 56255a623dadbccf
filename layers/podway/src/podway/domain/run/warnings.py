"""What people are told of tables and routes that cannot be ours. `decide` asks."""

from __future__ import annotations

from collections.abc import Iterable

from podway.domain.inventory import Survey
from podway.domain.members.cluster import Conflict
from podway.domain.model import Cluster


def table_warnings(survey: Survey, in_doubt: Iterable[str], cluster: str) -> list[str]:
    """Warnings of tables that cannot be managed, of those without our tag, and of those *in doubt*."""
    excluded = [f"{table}: not managed: {why}" for table, why in survey.excluded_tables.items()]
    untagged = f"no tag podway:cluster={cluster}: no role may write there, and no failover looks there"
    doubted = "EC2 shows no subnet that it steers, and one that no tagged table steers: its routes are kept"
    return [
        *excluded,
        *(f"{table}: {untagged}" for table in survey.untagged_tables),
        *(f"{table}: {doubted}" for table in sorted(in_doubt)),
    ]


def conflict_text(conflict: Conflict, cluster: Cluster) -> str:
    """A warning that names both parties: whose blocks the route is for, and who has it now."""
    whose = [
        node.id for node in cluster.nodes if any(conflict.destination.overlaps(one) for one in node.blocks)
    ]
    ours = f"{whose[0]} and {len(whose) - 1} more" if len(whose) > 1 else next(iter(whose), cluster.name)
    return (
        f"{conflict.table}: {conflict.destination}, for {ours}, was ours and now targets {conflict.target}: "
        "left alone until adopted"
    )
