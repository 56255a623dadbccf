"""Agents that are killed at random points and started again, under traffic, in a lab of its own process.

``python -m tests.lab.kills SEED COUNT`` prints what happened as one JSON object. No packet may be lost,
each agent must come to hold what it should, and what others put on the nodes must stay as it was.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from podway_agent.kernel.routing import PROTOCOL
from podway_lab.fabric.entry import enter
from podway_lab.fabric.host import Host
from podway_lab.lab import Lab
from podway_lab.machines import Fleet, Machine

from tests.lab.unrest import PLAN, Unrest, ask_apart

THEIRS = [
    "route add 10.9.0.0/16 via {gateway} proto static",
    "route add blackhole 100.64.250.0/24 proto 77",
    "rule add pref 500 to 192.0.2.0/24 lookup 77",
]
THEIR_TABLE = """
table inet theirs {
  chain c {
    type filter hook forward priority 5
    accept
  }
}
"""
THEIR_RULES = [
    ["-P", "FORWARD", "DROP"],
    ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"],
    ["-A", "FORWARD", "-d", "192.0.2.0/24", "-j", "ACCEPT"],
]


class Kills(Unrest):
    """Kills agents of a lab, each until it holds again what it should."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kinds: dict[str, Callable[[], str]] = {
            "idle": self.kill_idle,
            "starting": self.kill_starting,
            "changing": self.kill_changing,
        }
        self.before: dict[str, str] = {}

    def begin(self) -> None:
        """Put on each node what others have there, as soon as it is up."""
        self.start_nodes()
        for node, machine in self.machines.items():
            put_theirs(machine.host)
            self.fleet.restart_agent(self.lab.ids[node])
            self.must(partial(self.holds, node), f"{node} holds what it should")
            self.before[node] = theirs(machine.host)
        self.start_traffic()

    @property
    def fleet(self) -> Fleet:
        assert isinstance(self.lab.fleet, Fleet), "there is no kernel to look at"
        return self.lab.fleet

    @property
    def machines(self) -> dict[str, Machine]:
        return {node: self.fleet.machines[self.lab.ids[node]] for node in self.lab.nodes()}

    def account(self) -> dict[str, Any]:
        found = super().account()
        changed = [
            f"{node}: others' things were {before!r} and are {after!r}"
            for node, before in self.before.items()
            if (after := theirs(self.machines[node].host)) != before
        ]
        return found | {"broken": "; ".join(filter(None, [found["broken"], *changed]))}

    # Killing

    def kill_idle(self) -> str:
        """Nothing is going on."""
        return self._kill(self._victim(), after=0.0)

    def kill_starting(self) -> str:
        """It has just been started."""
        node = self._victim()
        self.fleet.restart_agent(self.lab.ids[node])
        return self._kill(node, after=self.chance.uniform(0, 1.2))

    def kill_changing(self) -> str:
        """A node comes to its subnet or goes, and it has a new snapshot to make come true."""
        node = self._victim()
        visitors = [one for one in self.lab.nodes(node[0]) if one not in self.before]
        if visitors:
            self._hand_over(visitors[0])
            self.lab.operator.terminate_instances(InstanceIds=[self.lab.ids[visitors[0]]])
            return f"{self._kill(node, after=self.chance.uniform(0, 3))} ({visitors[0]} goes)"
        self._visitors += 1
        visitor = f"{node[0]}{self._visitors + 2}"
        self.lab.launch(visitor, node[0])
        killed = self._kill(node, after=self.chance.uniform(0, 3))
        self.must(lambda: self.lab.is_ready(visitor), f"{visitor} is ready")
        return f"{killed} ({visitor} comes)"

    def _victim(self) -> str:
        """Often a forwarder: its packets would notice first."""
        forwarders = [node for node in self.forwarders() if node in self.before]
        often = forwarders and self.chance.random() < 0.7
        return self.chance.choice(forwarders if often else list(self.before))

    def _kill(self, node: str, *, after: float) -> str:
        time.sleep(after)
        self.fleet.kill_agent(self.lab.ids[node])
        away = self.chance.uniform(0, 1.5)
        time.sleep(away)
        self.fleet.restart_agent(self.lab.ids[node])
        self.must(lambda: self.holds(node), f"{node} holds what it should")
        return f"{node} after {after:.2f} s, {away:.2f} s away"

    def holds(self, node: str) -> bool:
        """Whether the agent says so, and the kernel leads to each sibling's block, and nowhere else."""
        machine = self.machines[node]
        try:
            status = json.loads((machine.host.directory / "state" / "status.json").read_text())
        except (OSError, ValueError):
            return False
        spoke = status["pid"] == machine.agent.pid and status["complete"]
        return spoke and ways(machine.host) == self.wanted(node)

    def wanted(self, node: str) -> set[str]:
        """``BLOCK via ADDRESS`` of each sibling that runs."""
        addresses = {name: machine.host.address for name, machine in self.machines.items()}
        return {
            f"{block} via {addresses[name]}"
            for member in self.lab.members()
            for block in member.prefixes
            if (name := self.lab.names[member.id]) != node and name[0] == node[0] and name in addresses
        }


def put_theirs(host: Host) -> None:
    """What a node's other inhabitants have there."""
    host.ip(*(line.format(gateway=host.port.segment.gateway) for line in THEIRS))
    host.nft(THEIR_TABLE)
    for program in ("iptables-nft", "iptables-legacy"):
        for rule in THEIR_RULES:
            host.tool(program, *rule)


def ways(host: Host) -> set[str]:
    """Our routes that lead somewhere, without those to the VPC router."""
    lines = host.tool("ip", "route", "show", "proto", str(PROTOCOL)).splitlines()
    return {" ".join(line.split()[:3]) for line in lines if " via " in line}


def theirs(host: Host) -> str:
    """Everything on the host that is not marked as ours: routes, rules, filters."""
    routes = [line for line in host.tool("ip", "route").splitlines() if f"proto {PROTOCOL}" not in line]
    listed = json.loads(host.tool("nft", "--json", "--stateless", "list", "ruleset"))["nftables"]
    tables = [
        json.dumps({**one, "handle": 0})
        for part in listed
        for kind, one in part.items()
        if kind != "metainfo" and "podway" not in (one.get("table"), one.get("name")) and kind != "rule"
    ]
    rules = [
        line
        for program in ("iptables-nft", "iptables-legacy")
        for line in host.tool(program, "-S").splitlines()
        if "podway" not in line
    ]
    return "\n".join([*routes, host.tool("ip", "rule"), *tables, *rules])


def play(seed: int, count: int) -> dict[str, Any]:
    """*count* kills, by *seed*."""
    chance = random.Random(seed)
    with Lab(PLAN, with_fabric=True) as lab:
        kills = Kills(lab, chance)
        kills.begin()
        for number in range(count):
            kills.make(list(kills.kinds)[number % len(kills.kinds)])
        return kills.account()


def play_apart(seed: int, count: int, *, seconds: float = 900) -> dict[str, Any]:
    """The same in a process of its own."""
    return ask_apart("tests.lab.kills", [str(seed), str(count)], seconds)


if __name__ == "__main__":
    enter()
    sys.stdout.write(json.dumps(play(int(sys.argv[1]), int(sys.argv[2]))) + "\n")
