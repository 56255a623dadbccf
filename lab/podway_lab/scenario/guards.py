"""Sentences about security groups and network ACLs, and about what they let through.

The player knows them by `GUARDS`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.model import counted

from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.probes import exchange
from podway_lab.fabric.rules import (
    ANYWHERE,
    AclRule,
    GroupRule,
    Selection,
    Way,
    documented,
    wide_open,
)
from podway_lab.machines import Fleet
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

GUARDS = Verbs()
_WHAT = r"everything|icmp|(?:tcp|udp)(?: \d+(?:-\d+)?)?"
_RANGE = r"pods|anywhere|[\d.]+/\d+"
_DOCUMENTED, _OPEN = "documented", "open"
"""Groups that need no sentence: what README wants, and everything from and to anywhere."""
_PATIENCE = 10.0
_SILENCE = 1.0
"""Seconds after which a connection that must not come about is given up."""


def _fabric(stage: Stage) -> Fabric:
    stage.need_packets()
    assert stage.lab.fabric is not None, "where there are packets there is a fabric"
    return stage.lab.fabric


def _interfaces(stage: Stage, who: str) -> dict[str, str]:
    """The interface of each node that *who* names: all nodes, the nodes of a subnet, or one."""
    if match := re.fullmatch(r"all nodes|the nodes of (\S+)", who):
        nodes = stage.lab.nodes(match[1])
    else:
        nodes = [stage.chosen(who)]
    if not nodes:
        raise NotSo("no node runs there")
    instances = stage.lab.ec2.state.instances
    return {node: interface for node in nodes for interface in instances[stage.lab.ids[node]].interfaces}


def _range(stage: Stage, text: str) -> Prefix:
    known = {"pods": stage.lab.plan.pod_cidr, "anywhere": str(ANYWHERE)}
    try:
        return Prefix.parse(known.get(text, text))
    except ValueError as error:
        raise NotSo(str(error)) from None


def _selection(text: str) -> Selection:
    try:
        return Selection.parse(text)
    except ValueError as error:
        raise NotSo(str(error)) from None


@GUARDS.says(
    rf"the group (?P<group>\S+) lets (?P<way>in|out) (?P<what>{_WHAT})"
    rf" (?:from|to) (?P<peer>{_RANGE}|the group (?P<named>\S+))"
)
def _lets(stage: Stage, match: re.Match[str]) -> str:
    fabric = _fabric(stage)
    peer = match["named"] or _range(stage, match["peer"])
    rule = GroupRule(Way(match["way"]), _selection(match["what"]), peer)
    fabric.set_group(match["group"], [*fabric.group(match["group"]), rule])
    return f"{len(fabric.group(match['group']))} rules"


@GUARDS.says(r"the group (?P<group>\S+) lets nothing through")
def _lets_nothing(stage: Stage, match: re.Match[str]) -> str:
    _fabric(stage).set_group(match["group"], ())
    return "but flows that are tracked"


@GUARDS.says(r"nodes that are launched are in (?:no group|the groups? (?P<groups>\S+(?: and \S+)*))")
def _newcomers_join(stage: Stage, match: re.Match[str]) -> str:
    _fabric(stage).group_newcomers(_named(stage, match["groups"]))
    return "from their first packet on"


@GUARDS.says(r"(?P<who>.+) (?:is|are) in (?:no group|the groups? (?P<groups>\S+(?: and \S+)*))")
def _joins(stage: Stage, match: re.Match[str]) -> str:
    fabric, interfaces = _fabric(stage), _interfaces(stage, match["who"])
    fabric.join_groups(interfaces.values(), _named(stage, match["groups"]))
    return ", ".join(interfaces)


def _named(stage: Stage, text: str | None) -> list[str]:
    """The groups that *text* names; the known ones get their rules with that."""
    fabric, groups = _fabric(stage), text.split(" and ") if text else []
    if _DOCUMENTED in groups:
        fabric.set_group(_DOCUMENTED, documented(_DOCUMENTED, Prefix.parse(stage.lab.plan.pod_cidr)))
    if _OPEN in groups:
        fabric.set_group(_OPEN, wide_open())
    return groups


@GUARDS.says(r"groups of (?P<who>.+) forget idle TCP flows after (?P<seconds>\d+)s")
def _forgets(stage: Stage, match: re.Match[str]) -> str:
    return _track(stage, match["who"], tcp=float(match["seconds"]))


@GUARDS.says(r"groups of (?P<who>.+) take up TCP flows (?P<where>in their middle|only at a SYN)")
def _takes_up(stage: Stage, match: re.Match[str]) -> str:
    return _track(stage, match["who"], joins=match["where"] == "in their middle")


def _track(stage: Stage, who: str, **changed: Any) -> str:
    fabric, interfaces = _fabric(stage), _interfaces(stage, who)
    for one in interfaces.values():
        fabric.track_flows([one], replace(fabric.tracking(one), **changed))
    return ", ".join(interfaces)


@GUARDS.says(
    rf"rule (?P<number>\d+) of the ACL of (?P<subnet>\S+) (?P<verdict>allows|denies) (?P<what>{_WHAT})"
    rf" (?P<way>in|out) (?:from|to) (?P<peer>{_RANGE})"
)
def _acl_rule(stage: Stage, match: re.Match[str]) -> str:
    fabric, subnet = _fabric(stage), stage.lab.ids[match["subnet"]]
    way, number = Way(match["way"]), int(match["number"])
    allowed = match["verdict"] == "allows"
    rule = AclRule(number, way, _selection(match["what"]), _range(stage, match["peer"]), allowed)
    others = [one for one in fabric.acl(subnet) if (one.way, one.number) != (way, number)]
    fabric.set_acl(subnet, [*others, rule])
    return f"{len(others) + 1} rules, and then all is denied"


@GUARDS.says(r"the ACL of (?P<subnet>\S+) allows everything")
def _acl_open(stage: Stage, match: re.Match[str]) -> str:
    _fabric(stage).set_acl(stage.lab.ids[match["subnet"]], None)
    return ""


@GUARDS.says(
    r"(?P<kind>relayed|direct) connections between (?P<one>\S+) and (?P<other>\S+) (?P<how>succeed|fail)"
    r" on port (?P<port>\d+)"
)
def _connects(stage: Stage, match: re.Match[str]) -> str:
    """Over TCP, asked from either side: relayed are those that a forwarder of each subnet shares."""
    stage.need_packets()
    one, other = (
        _end(stage, mine, seen_from=theirs, relayed=match["kind"] == "relayed")
        for mine, theirs in ((match["one"], match["other"]), (match["other"], match["one"]))
    )
    wanted = match["how"] == "succeed"
    for source, target in ((one, other), (other, one)):
        came = exchange(
            stage.lab.pod(source),
            stage.lab.pod(target),
            port=int(match["port"]),
            timeout=_PATIENCE if wanted else _SILENCE,
        )
        if came.complete is not wanted:
            raise NotSo(f"pod {source} → pod {target}: {came.error or f'{came.echoed} bytes came back'}")
    return f"pod {one} and pod {other}"


def _end(stage: Stage, subnet: str, *, seen_from: str, relayed: bool) -> str:
    """A node of *subnet* to whose block the other subnet's table leads through another node, or directly."""
    routes, blocks = dict(stage.lab.managed(seen_from)), stage.lab.blocks()
    for node in stage.lab.nodes(subnet):
        for block in (one for one, owner in blocks.items() if owner == node):
            hop = routes[max((one for one in routes if one.contains(block)), key=lambda one: one.length)]
            if (hop != node) is relayed:
                return node
    raise NotSo(f"no node of {subnet} is reached so from {seen_from}")


@GUARDS.says(r"the groups of (?P<who>.+) have refused (?P<what>packets|nothing)")
def _groups_refused(stage: Stage, match: re.Match[str]) -> str:
    """Since the nodes joined the first of their groups."""
    fabric = _fabric(stage)
    counts = {node: fabric.refused_by_groups(one) for node, one in _interfaces(stage, match["who"]).items()}
    said = ", ".join(f"{node}: {count}" for node, count in counts.items() if count)
    if bool(said) is not (match["what"] == "packets"):
        raise NotSo(said or "they have refused nothing")
    return said


@GUARDS.says(r"the ACL of (?P<subnet>\S+) has refused (?P<what>packets|nothing)")
def _acl_refused(stage: Stage, match: re.Match[str]) -> str:
    """Since its first rule was set."""
    count = _fabric(stage).refused_by_acl(stage.lab.ids[match["subnet"]])
    if bool(count) is not (match["what"] == "packets"):
        raise NotSo(f"it has refused {count}")
    return counted(count, "packet")


@GUARDS.says(r"groups of (?P<who>.+) track (?P<what>half TCP flows|no TCP flow)")
def _tracked(stage: Stage, match: re.Match[str]) -> str:
    """Between pods: the node's own connections to the store are its own."""
    fabric, pods = _fabric(stage), Prefix.parse(stage.lab.plan.pod_cidr)
    flows = [
        flow
        for one in _interfaces(stage, match["who"]).values()
        for flow in fabric.tracked_flows(one)
        if flow.protocol == "tcp" and pods.contains(Prefix.of_address(flow.local))
    ]
    halves = [flow for flow in flows if flow.half]
    if not halves if match["what"] == "half TCP flows" else flows:
        raise NotSo(f"{counted(len(flows), 'flow')}, {len(halves)} of them half")
    return f"{len(halves)}"


@GUARDS.says(r"forwarders are watched, and probes are answered")
def _probed(stage: Stage, _: re.Match[str]) -> str:
    """As the agents' own status says: one that hears no answers doubts itself, or suspects a forwarder."""
    _fabric(stage)
    assert isinstance(stage.lab.fleet, Fleet), "with packets the agents are real ones"
    watching, unwell = [], []
    for node in stage.lab.nodes():
        folder = stage.lab.fleet.machines[stage.lab.ids[node]].host.directory
        try:
            said = json.loads((folder / "state" / "status.json").read_text())["probing"]
        except FileNotFoundError:
            raise NotSo(f"the agent of {node} has said nothing yet") from None
        watching += [node] if said["forwarders"] else []
        unwell += [node] if said["doubts_itself"] or said["suspects"] or said["trouble"] else []
    if unwell or not watching:
        raise NotSo(f"{', '.join(unwell)} miss answers" if unwell else "nobody watches a forwarder")
    return f"{', '.join(watching)} watch"
