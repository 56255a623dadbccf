"""Sentences about the managed routes in the tables.

The player knows them by `ROUTES`.
"""

from __future__ import annotations

import re

from podway.domain.addressing import Prefix
from podway.domain.model import counted

from podway_lab.scenario.report import Handled
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

ROUTES = Verbs()


@ROUTES.says(r"show routes")
def _show(stage: Stage, _: re.Match[str]) -> str:
    lab = stage.lab
    owners = lab.blocks()
    owners |= {prefix: f"subnet {name}" for name in lab.subnets for prefix in lab.supernets(name)}
    hops: dict[str, dict[Prefix, tuple[str, bool]]] = {}
    for subnet in lab.plan.subnets:
        direct = lab.direct(subnet.name)
        routes = {place: (hop, place in direct) for place, hop in lab.managed(subnet.name)}
        room = lab.plan.quota - lab.plan.reserve - lab.others_routes(subnet.name)
        hops[f"rtb-{subnet.name}\n{len(routes)} of {room}"] = routes
    stage.report.routes(hops, owners)
    return ""


@ROUTES.says(r"the table of (?P<subnet>\S+) has (?P<kind>only aggregated|direct) routes")
def _kinds(stage: Stage, match: re.Match[str]) -> str:
    direct = len(stage.lab.direct(match["subnet"]))
    if bool(direct) == (match["kind"] == "only aggregated"):
        raise NotSo(f"the table has {direct} direct routes")
    return f"{direct} direct routes"


@ROUTES.says(r"the table of (?P<subnet>\S+) holds at most (?P<count>\d+) managed routes")
def _holds(stage: Stage, match: re.Match[str]) -> str:
    count = len(list(stage.lab.managed(match["subnet"])))
    if count > int(match["count"]):
        raise NotSo(f"it holds {count}")
    return f"{count} of them"


@ROUTES.says(r"no route leads through (?P<node>.+)")
def _nothing_through(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    left = [
        f"{destination} in rtb-{subnet.name}"
        for subnet in stage.lab.plan.subnets
        for destination, hop in stage.lab.managed(subnet.name)
        if hop == node
    ]
    if left:
        raise NotSo(f"through {node}: {', '.join(left)}")
    return ""


@ROUTES.says(r"nothing is relayed through (?P<node>.+)")
def _relays_nothing(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    if relayed := stage.relayed(node):
        raise NotSo(f"{node} relays {counted(relayed, 'block')} of others")
    return node


@ROUTES.says(r"each of its routes moved once")
def _moved_once(stage: Stage, _: re.Match[str]) -> str:
    """Its routes are those that carried blocks of others when something happened to the node.

    A ReplaceRoute that names the present target moves nothing. A reconcile that was on its way may send one.
    """
    noted = stage.noted
    moved = noted.moved
    wrong = [
        f"{cidr} in {table}: {moved[table, cidr]} times"
        for table, cidr in noted.routes
        if moved[table, cidr] != 1
    ]
    if wrong or not noted.routes:
        raise NotSo(f"{noted.node}: {', '.join(wrong) or 'no route carried blocks of others'}")
    return f"{counted(len(noted.routes), 'route')} of {noted.node}"


@ROUTES.says(r"failovers took at most (?P<waves>\d+) waves, and (?P<calls>\d+) calls beyond their routes")
def _frugal(stage: Stage, match: re.Match[str]) -> str:
    """Their routes are those that carried blocks of others through the dead node, summed over the tables."""
    if not stage.handled:
        raise NotSo("no failover function moved a route")
    for one in stage.handled:
        if one.waves > int(match["waves"]) or one.calls > one.carrying + int(match["calls"]):
            raise NotSo(f"{one.what}: {_economy(one)} {'route' if one.carrying == 1 else 'routes'}")
    return ", ".join(map(_economy, stage.handled))


def _economy(one: Handled) -> str:
    return f"{counted(one.waves, 'wave')}, {counted(one.calls, 'call')} for {one.carrying}"
