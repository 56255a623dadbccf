"""Sentences about the faults of hosts, agents, the store and the queue of hints.

The player knows them by `FAULTS`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from podway.domain.model import counted
from podway_agent.kernel.routing import PROTOCOL

from podway_lab.fabric.host import Host
from podway_lab.machines import Fleet
from podway_lab.region.faults import Kind
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verb, Verbs

FAULTS = Verbs()
_HOST_FAULTS: dict[str, Callable[[Host], object]] = {
    r"port of (?P<node>.+) goes down": Host.port_down,
    r"port of (?P<node>.+) comes up": Host.port_up,
    r"unplug (?P<node>.+)": Host.unplug,
    r"plug in (?P<node>.+)": Host.plug_in,
    r"(?P<node>.+) drops everything": lambda host: host.drop_everything(on=True),
    r"(?P<node>.+) drops nothing any more": lambda host: host.drop_everything(on=False),
    r"(?P<node>.+) stops forwarding": lambda host: host.set_forwarding(on=False),
    r"(?P<node>.+) forwards again": lambda host: host.set_forwarding(on=True),
    r"FORWARD of (?P<node>.+) drops": lambda host: host.drop_forwarded(on=True),
    r"FORWARD of (?P<node>.+) accepts": lambda host: host.drop_forwarded(on=False),
    r"link of (?P<node>.+) flaps": Host.flap,
    r"conntrack of (?P<node>.+) is filled": Host.fill_conntrack,
    r"conntrack of (?P<node>.+) is emptied": Host.empty_conntrack,
    r"routes of (?P<node>.+) are flushed": lambda host: host.flush_routes(PROTOCOL),
}
_AGENT_FAULTS: dict[str, Callable[[Fleet, str], None]] = {
    r"agent of (?P<node>.+) is killed": Fleet.kill_agent,
    r"agent of (?P<node>.+) is restarted": Fleet.restart_agent,
    r"agent of (?P<node>.+) is frozen": Fleet.freeze_agent,
    r"agent of (?P<node>.+) is thawed": Fleet.thaw_agent,
    r"(?P<node>\S+) restarts": Fleet.reboot,
}


def _fleet(stage: Stage) -> Fleet:
    stage.need_packets()
    assert isinstance(stage.lab.fleet, Fleet), "with packets the agents are real ones"
    return stage.lab.fleet


def _on_host(fault: Callable[[Host], object]) -> Verb:
    def verb(stage: Stage, match: re.Match[str]) -> str:
        node = stage.chosen(match["node"])
        fault(_fleet(stage).machines[stage.lab.ids[node]].host)
        return node

    return verb


def _on_agent(fault: Callable[[Fleet, str], None]) -> Verb:
    def verb(stage: Stage, match: re.Match[str]) -> str:
        node = stage.chosen(match["node"])
        fault(_fleet(stage), stage.lab.ids[node])
        return node

    return verb


@FAULTS.says(r"everything restarts")
def _everything_restarts(stage: Stage, _: re.Match[str]) -> str:
    fleet = _fleet(stage)
    for node in stage.lab.nodes():
        fleet.reboot(stage.lab.ids[node])
    return f"{len(stage.lab.nodes())} instances"


@FAULTS.says(r"all agents are restarted")
def _all_agents_restart(stage: Stage, _: re.Match[str]) -> str:
    fleet = _fleet(stage)
    for instance in list(fleet.machines):
        fleet.restart_agent(instance)
    return counted(len(fleet.machines), "agent")


@FAULTS.says(r"the agents are upgraded")
def _agents_upgraded(stage: Stage, _: re.Match[str]) -> str:
    fleet = _fleet(stage)
    fleet.upgrade_agents()
    return f"{len(fleet.machines)} agents"


@FAULTS.says(r"the store goes away")
def _store_away(stage: Stage, _: re.Match[str]) -> str:
    stage.store_away = stage.lab.ec2.calls.mark()
    stage.lab.ec2.faults.arm(Kind.UNREACHABLE, action="dynamodb:*", caller="i-*")
    return "for the agents"


@FAULTS.says(r"the store comes back")
def _store_back(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.ec2.faults.disarm(Kind.UNREACHABLE)
    return ""


@FAULTS.says(r"no agent asked the store more than (?P<most>\d+) times")
def _patience(stage: Stage, match: re.Match[str]) -> str:
    """Counted since the store went away."""
    calls = stage.lab.ec2.calls.made("dynamodb:*", caller="i-*", since=stage.store_away)
    asked = Counter(stage.lab.names[call.caller] for call in calls)
    if not asked:
        raise NotSo("no agent asked at all")
    if impatient := [f"{node}: {count}" for node, count in asked.items() if count > int(match["most"])]:
        raise NotSo(", ".join(impatient))
    return f"{counted(asked.total(), 'request')} of {counted(len(asked), 'agent')}"


@FAULTS.says(r"the queue of hints goes away")
def _queue_away(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.ec2.faults.arm(Kind.BROKEN, action="sqs:ReceiveMessage")
    return "no reconcile is woken"


@FAULTS.says(r"the queue of hints comes back")
def _queue_back(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.ec2.faults.disarm(Kind.BROKEN)
    return ""


for _pattern, _fault in _HOST_FAULTS.items():
    FAULTS.add(_pattern, _on_host(_fault))
for _pattern, _agent_fault in _AGENT_FAULTS.items():
    FAULTS.add(_pattern, _on_agent(_agent_fault))
