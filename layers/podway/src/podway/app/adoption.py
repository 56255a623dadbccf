"""Records a route that somebody else made as ours. Operator calls it, under the one writer's lease."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from podway.app.ports import Cloud
from podway.app.stores import InventoryStore
from podway.domain.addressing import Prefix
from podway.domain.inventory import Member
from podway.domain.members.adoption import Adopted, NotAdopted, adopt, dead_target
from podway.domain.run.seen import Seen


def adopt_route(
    cloud: Cloud,
    store: InventoryStore,
    owner: str,
    seen: Seen,
    table: str,
    destination: Prefix,
    *,
    pod_cidrs: Iterable[Prefix],
) -> Adopted | NotAdopted:
    """Decide, and record it. EC2 is asked for the target of a black hole: what it calls unknown is gone.

    Raises TryAgain, NeedsOperator; Superseded when the lease was lost.
    """
    tables, memory, membership = seen.survey.route_tables, seen.memory, seen.membership
    members = (*membership.present, *membership.quarantined)
    interfaces = {name: one.id for one in members for name in one.interfaces}
    target = dead_target(tables, table, destination, interfaces)
    heir = _heir(membership.present, destination, seen)
    decided = adopt(
        tables,
        table,
        destination,
        pod_cidrs=pod_cidrs,
        recorded=memory.records,
        interfaces=interfaces,
        gone={target: heir.id} if target and heir and cloud.is_interface_gone(target) else {},
    )
    if not isinstance(decided, Adopted):
        return decided
    if decided.is_dead and heir:
        former = tuple(sorted({*heir.former_interfaces, decided.target}))
        inherited = replace(heir, former_interfaces=former)
        store.save_inventory(owner, members=[inherited], forgotten=(), supernets={})
    store.record_routes(owner, table, memory.records.get(table, frozenset()) | {destination})
    return decided


def _heir(present: Iterable[Member], destination: Prefix, seen: Seen) -> Member | None:
    """Whom a dead target is recorded with until no route leads there: a member of the space's owner."""
    owners = {
        subnet
        for subnet, several in seen.memory.supernets.items()
        if any(one.overlaps(destination) for one in several)
    }
    ordered = sorted(present, key=lambda one: (one.subnet not in owners, one.id))
    return next(iter(ordered), None)
