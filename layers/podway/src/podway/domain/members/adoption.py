"""Whether a present route may become ours, and which routes are ours to remove when Podway goes.

The operator's commands ``podway adopt`` and ``podway release`` ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from podway.domain.addressing import Prefix
from podway.domain.model import Delete, RouteOrigin, RouteState, RouteTable


@dataclass(frozen=True, slots=True)
class Adopted:
    """The route is ours from now on; *target* is the interface that it leads to, *node* its member.

    *is_dead*: no such interface exists any more, and *node* is whom it is recorded with until the next run of
    reconcile has replaced or removed the route.
    """

    table: str
    destination: Prefix
    target: str
    node: str
    is_dead: bool = False


@dataclass(frozen=True, slots=True)
class NotAdopted:
    """The route stays what it is, and why."""

    reason: str


def dead_target(
    tables: Iterable[RouteTable], table: str, destination: Prefix, interfaces: Mapping[str, str]
) -> str:
    """The interface that EC2 is to be asked for: the target of a black hole that is no member's; or empty."""
    routes = (route for one in tables if one.id == table for route in one.routes)
    found = next((one for one in routes if one.destination == destination), None)
    if found is None or found.state is not RouteState.BLACKHOLE or found.target in interfaces:
        return ""
    return found.target if found.target.startswith("eni-") else ""


def adopt(
    tables: Iterable[RouteTable],
    table: str,
    destination: Prefix,
    *,
    pod_cidrs: Iterable[Prefix],
    recorded: Mapping[str, frozenset[Prefix]],
    interfaces: Mapping[str, str],
    gone: Mapping[str, str] = MappingProxyType({}),
) -> Adopted | NotAdopted:
    """Whether the route for *destination* in *table* can be ours.

    *interfaces* maps members' network interfaces to their nodes. *gone* are interfaces that EC2 says do not
    exist, and the members that they would be recorded with. Only a route inside the pod CIDR that leads to
    one of these can be: any other, once ours, would be taken from somebody by the next run.
    """
    found = next((one for one in tables if one.id == table), None)
    if found is None:
        return NotAdopted(f"{table} is not a route table of this cluster")
    if not any(cidr.contains(destination) for cidr in pod_cidrs):
        return NotAdopted(f"{destination} is not inside the pod CIDR")
    decided = _taken_over(found, destination, interfaces, gone)
    is_dead = (
        isinstance(decided, Adopted) and decided.is_dead
    )  # recorded, but nobody's since its target ended
    if destination in recorded.get(table, frozenset()) and not is_dead:
        return NotAdopted(f"the route for {destination} is recorded as ours already")
    return decided


def _taken_over(
    table: RouteTable, destination: Prefix, interfaces: Mapping[str, str], gone: Mapping[str, str]
) -> Adopted | NotAdopted:
    route = next((one for one in table.routes if one.destination == destination), None)
    if route is None:
        return NotAdopted(f"{table.id} has no route for {destination}")
    if route.origin is not RouteOrigin.CREATE_ROUTE:
        return NotAdopted(f"the route for {destination} comes from {route.origin} and cannot be changed")
    if route.target in gone:
        return Adopted(table.id, destination, route.target, gone[route.target], is_dead=True)
    node = interfaces.get(route.target)
    if node is None:
        return NotAdopted(f"the route for {destination} leads to {route.target}, which is no member's")
    return Adopted(table.id, destination, route.target, node)


@dataclass(frozen=True, slots=True)
class Release:
    """The routes to delete, and the records for which there is nothing to delete.

    ``lost`` counts the records of tables that are not to be seen any more.
    """

    deletes: tuple[tuple[str, Delete], ...]
    left: tuple[tuple[str, Prefix, str], ...]
    """Table, destination and target of recorded routes that lead to no member: not touched."""
    lost: Mapping[str, int]


def release(
    tables: Iterable[RouteTable], recorded: Mapping[str, frozenset[Prefix]], interfaces: Iterable[str]
) -> Release:
    """Every managed route of *tables*, longest first: what it carried falls back to a wider one of ours."""
    tables, interfaces = tuple(tables), frozenset(interfaces)
    deletes, left = [], []
    for table in sorted(tables, key=lambda one: one.id):
        ours = recorded.get(table.id, frozenset())
        for route in table.routes:
            destination = route.destination
            if not isinstance(destination, Prefix) or destination not in ours:
                continue
            if route.target in interfaces:
                deletes.append((table.id, Delete(destination, route.target)))
            else:
                left.append((table.id, destination, route.target))
    deletes.sort(key=lambda one: (one[0], -one[1].destination.length, one[1].destination))
    seen = {table.id for table in tables}
    lost = {table: len(ours) for table, ours in sorted(recorded.items()) if ours and table not in seen}
    return Release(tuple(deletes), tuple(sorted(left)), lost)
