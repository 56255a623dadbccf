"""Sentences about what befalls hosts and agents, and about what an operator does to nodes."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from podway_agent.kernel.routing import PROTOCOL

from podway_lab.fabric.host import Host
from podway_lab.machines import Fleet
from podway_lab.region.faults import Kind
from podway_lab.scenario.verbs import NotSo, says

if TYPE_CHECKING:
    from podway_lab.scenario.player import Player

Fault = Callable[[Host], object]

HOST_FAULTS: dict[str, Fault] = {
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
AGENT_DEEDS: dict[str, Callable[[Fleet, str], None]] = {
    r"agent of (?P<node>.+) is killed": Fleet.kill_agent,
    r"agent of (?P<node>.+) is restarted": Fleet.restart_agent,
    r"agent of (?P<node>.+) is frozen": Fleet.freeze_agent,
    r"agent of (?P<node>.+) is thawed": Fleet.thaw_agent,
    r"(?P<node>\S+) restarts": Fleet.reboot,
}


def _fleet(player: Player) -> Fleet:
    player.need_packets()
    assert isinstance(player.lab.fleet, Fleet), "with packets the agents are real ones"
    return player.lab.fleet


def _on_host(pattern: str, fault: Fault) -> None:
    @says(pattern)
    def befall(player: Player, match: re.Match[str]) -> str:
        node = player.chosen(match["node"])
        fault(_fleet(player).machines[player.lab.ids[node]].host)
        return node


def _on_agent(pattern: str, deed: Callable[[Fleet, str], None]) -> None:
    @says(pattern)
    def befall(player: Player, match: re.Match[str]) -> str:
        node = player.chosen(match["node"])
        deed(_fleet(player), player.lab.ids[node])
        return node


@says(r"everything restarts")
def _everything_restarts(player: Player, _: re.Match[str]) -> str:
    fleet = _fleet(player)
    for node in player.lab.nodes():
        fleet.reboot(player.lab.ids[node])
    return f"{len(player.lab.nodes())} instances"


@says(r"all agents are restarted")
def _all_agents_restart(player: Player, _: re.Match[str]) -> str:
    fleet = _fleet(player)
    for instance in list(fleet.machines):
        fleet.restart_agent(instance)
    return f"{len(fleet.machines)} agents"


@says(r"the store goes away")
def _store_away(player: Player, _: re.Match[str]) -> str:
    player.store_away = player.lab.ec2.calls.mark()
    player.lab.ec2.faults.arm(Kind.UNREACHABLE, action="dynamodb:*", caller="i-*")
    return "for the agents"


@says(r"the store comes back")
def _store_back(player: Player, _: re.Match[str]) -> str:
    player.lab.ec2.faults.disarm(Kind.UNREACHABLE)
    return ""


@says(r"no agent asked the store more than (?P<most>\d+) times")
def _patience(player: Player, match: re.Match[str]) -> str:
    """Since it went away."""
    calls = player.lab.ec2.calls.made("dynamodb:*", caller="i-*", since=player.store_away)
    asked = Counter(player.lab.names[call.caller] for call in calls)
    if not asked:
        raise NotSo("no agent asked at all")
    if impatient := [f"{node}: {count}" for node, count in asked.items() if count > int(match["most"])]:
        raise NotSo(", ".join(impatient))
    return f"{asked.total()} requests of {len(asked)} agents"


@says(r"drain (?P<node>.+)")
def _drain(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    player.lab.podway.drain(player.lab.ids[node])
    return node


@says(r"undrain (?P<node>.+)")
def _undrain(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    return f"{node}: withdrawn: {', '.join(player.lab.podway.undrain(player.lab.ids[node])) or 'nothing'}"


@says(r"(?P<node>\S+) is drained")
def _is_drained(player: Player, match: re.Match[str]) -> str:
    if not player.lab.podway.is_drained(player.lab.ids[player.chosen(match["node"])]):
        raise NotSo(f"{match['node']} still relays")
    return ""


@says(r"wait (?P<seconds>\d+)s")
def _wait(_: Player, match: re.Match[str]) -> str:
    time.sleep(int(match["seconds"]))
    return ""


for _pattern, _fault in HOST_FAULTS.items():
    _on_host(_pattern, _fault)
for _pattern, _deed in AGENT_DEEDS.items():
    _on_agent(_pattern, _deed)
