"""Forwarders that fail in every way, in a whole lab: real agents probe, real functions move routes.

A program of its own, since a lab with packets needs a process of its own:
``python -m tests.lab.trials [--seed N] [NAME ...]`` prints one JSON object per trial. ``make test`` plays
every trial once, the soak job ``probing`` plays the faults many times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.health.verdict import health
from podway.domain.health.watchers import WATCHERS
from podway.domain.model import Health
from podway_lab.fabric.entry import enter
from podway_lab.fabric.host import Host
from podway_lab.fabric.probes import ping, trace
from podway_lab.fabric.traffic import Figures, Flow, Traffic
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.machines import Fleet, Machine, wait_until

RELAYED_ANSWERED = 'podway_agent_probes_total{way="relayed",result="answered"}'
RELAYED_LOST = 'podway_agent_probes_total{way="relayed",result="lost"}'
PATIENCE = 180.0
"""Seconds until something that must come is given up; never what is measured."""
OBSERVED = 3.0
"""Seconds in which a route that must not move could have moved several times."""
RATE = 1000
PLAN = LabPlan(
    cluster="trials",
    quota=14,
    hold_down=1,
    subnets=(
        SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1", "a2", "a3", "a4"), foreign=9),
        SubnetPlan("b", "10.0.16.0/20", "us-west-2b", ("b1",), foreign=10),
    ),
)
"""b's table has room for a's anchor only: one node forwards for all of a, and the others watch it."""


class Failed(Exception):
    """Something that had to come did not."""


def soon(what: str, condition: Callable[[], bool]) -> None:
    """Wait for *condition*. Raises Failed."""
    if not wait_until(condition, timeout=PATIENCE):
        raise Failed(f"{what}: not within {PATIENCE:.0f} s")


@dataclass(frozen=True)
class Fault:
    """What befalls a host, and how it ends."""

    begin: Callable[[Host], object]
    end: Callable[[Host], object]
    frozen: bool = False
    """Whether its agent is frozen meanwhile: it would mend the fault at once."""


SILENT = Fault(lambda host: host.drop_everything(on=True), lambda host: host.drop_everything(on=False))
FAULTS = {
    "port down": Fault(Host.port_down, Host.port_up),
    "everything dropped": SILENT,
    "unplugged": Fault(Host.unplug, Host.plug_in),
    "forwarding off": Fault(
        lambda host: host.set_forwarding(on=False), lambda host: host.set_forwarding(on=True), frozen=True
    ),
    "FORWARD drop": Fault(
        lambda host: host.drop_forwarded(on=True), lambda host: host.drop_forwarded(on=False)
    ),
}
"""After each the forwarder relays nothing more; the last two an instance status check would not notice."""


class Stage:
    """A lab in which a node of subnet a forwards, its siblings watch it, and a pod in b sends through it."""

    def __init__(self, lab: Lab, traffic: Traffic) -> None:
        self.lab, self.traffic = lab, traffic
        assert isinstance(lab.fleet, Fleet), "with packets the agents are real ones"
        self.fleet = lab.fleet

    def start(self) -> None:
        self.lab.launch_all()
        soon("all nodes ready", lambda: all(map(self.lab.is_ready, self.lab.nodes())))

    # Who is who

    def forwarder(self) -> str:
        """The node that packets from b to most of a go through."""
        anchors = self.lab.supernets("a")
        return next(hop for destination, hop in self.lab.managed("b") if destination in anchors)

    def others(self) -> list[str]:
        """The nodes of a but the forwarder: its watchers."""
        return [node for node in self.lab.nodes("a") if node != self.forwarder()]

    def targets(self) -> list[str]:
        """Nodes behind the forwarder: no route of their own leads to them."""
        anchors = self.lab.supernets("a")
        direct = {hop for destination, hop in self.lab.managed("b") if destination not in anchors}
        return [node for node in self.others() if node not in direct]

    def bystanders(self) -> list[str]:
        """The targets that forward nothing in any table: what befalls one is no reason to move a route."""
        relaying = {hop for subnet in "ab" for _, hop in self.lab.managed(subnet)}
        return [node for node in self.targets() if node not in relaying]

    def machine(self, node: str) -> Machine:
        return self.fleet.machines[self.lab.ids[node]]

    # How it is

    def said(self, node: str) -> dict[str, Any]:
        """What the node's agent says of probing."""
        path = self.machine(node).host.directory / "state" / "status.json"
        probing: dict[str, Any] = json.loads(path.read_text())["probing"]
        return probing

    def log(self, node: str) -> list[dict[str, Any]]:
        """What the node's agent has logged."""
        path = self.machine(node).host.directory / "agent.log"
        return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]

    def watchers(self) -> list[str]:
        """Who was told to watch the forwarder."""
        forwarder = self.lab.ids[self.forwarder()]
        watches = dict(self.lab.store.recall().maps[self.lab.ids["a"]].watches)
        return [self.lab.names[watcher] for watcher in watches.get(forwarder, ())]

    def is_calm(self) -> bool:
        """Whether three siblings watch the forwarder, and nothing is held against anybody."""
        forwarder, now = self.lab.ids[self.forwarder()], self.lab.ec2.clock()
        said = [self.said(node) for node in self.watchers()]
        watched = len(said) == WATCHERS and all(forwarder in one["forwarders"] for one in said)
        watched = watched and not any(self.said(node)["suspects"] for node in self.lab.nodes("a"))
        verdicts = self.lab.store.verdicts().values()
        return watched and all(
            not one.evidence and health(one, now=now) is Health.HEALTHY for one in verdicts
        )

    def settle(self) -> None:
        """Wait until all is well and watched."""
        soon("calm", self.is_calm)
        time.sleep(1.0)  # whoever watches anew has answers by now

    def routes(self) -> list[tuple[str, str]]:
        """Every managed route and its next hop."""
        return [(f"{subnet} {to}", hop) for subnet in "ab" for to, hop in self.lab.managed(subnet)]

    @contextmanager
    def flow(self, target: str) -> Iterator[Flow]:
        """1 kHz from the pod in b to the one on *target*."""
        flow = self.traffic.start(self.lab.pod("b1"), self.lab.pod(target), rate=RATE)
        time.sleep(0.5)
        try:
            yield flow
        finally:
            flow.stop()

    # Trials

    def play(self, name: str) -> dict[str, Any]:
        """The trial of that name."""
        if name in FAULTS:
            return self.fail(name)
        return {"join": self.join, "news": self.news}.get(name, lambda: self.spare(name))()

    def fail(self, name: str) -> dict[str, Any]:
        """Let the forwarder fail: how long until traffic flows again, and what was found."""
        fault, failed = FAULTS[name], self.forwarder()
        machine = self.machine(failed)
        logged = {node: len(self.log(node)) for node in self.others()}
        if fault.frozen:
            machine.agent.freeze()
        with self.flow(self.targets()[0]) as flow:
            began = time.monotonic()
            fault.begin(machine.host)
            soon("routes moved", lambda: self.forwarder() != failed)
            moved = time.monotonic()
            soon("traffic flows", lambda: flows_since(flow.look(), moved))
            figures = flow.look()
        findings = {
            str(line["finding"])
            for node, before in logged.items()
            for line in self.log(node)[before:]
            if line["event"] == "forwarder suspected"
        }
        fault.end(machine.host)
        if fault.frozen:
            machine.agent.thaw()
        return {
            "trial": name,
            "outage_ms": round(outage(figures, since=began) * 1000),
            "lost": figures.lost,
            "moved_ms": round((moved - began) * 1000),
            "findings": sorted(findings),
        }

    def spare(self, name: str) -> dict[str, Any]:
        """Let something else befall, and see whether any route moves for it."""
        before, (victim, target) = self.routes(), self.bystanders()[:2]
        begin, end = self._harmless(name, self.forwarder(), victim)
        with self.flow(target) as flow:
            begin()
            time.sleep(OBSERVED)
            figures = flow.look()
        others = {node for one in self.others() if one != victim for node in self.said(one)["suspects"]}
        said = {
            "trial": name,
            "lost": figures.lost,
            "moved": self.routes() != before,
            "routes": {"before": before, "after": self.routes()},
            "suspects": sorted(others),
            "victim_suspects": self.said(victim)["suspects"],
            "victim_doubts": self.metric(victim, "podway_agent_prober_doubts_itself"),
        }
        end()
        return said

    def _harmless(
        self, name: str, forwarder: str, prober: str
    ) -> tuple[Callable[[], object], Callable[[], object]]:
        host, relay = self.machine(prober).host, self.machine(forwarder).host
        agent, source = self.machine(forwarder).agent, self.block_of(prober)[0].first_address
        return {
            "agent frozen": (agent.freeze, agent.thaw),
            "agent killed": (agent.end, lambda: self.fleet.restart_agent(self.lab.ids[forwarder])),
            "prober cut off": (lambda: SILENT.begin(host), lambda: SILENT.end(host)),
            "prober's port down": (host.port_down, host.port_up),
            "one prober unheard": (lambda: relay.nft(unheard(source)), lambda: relay.nft(UNHEARD)),
        }[name]

    def join(self) -> dict[str, Any]:
        """A node joins while the forwarder's agent is frozen, and so knows nothing of the new block."""
        before, forwarder, newcomer = self.routes(), self.forwarder(), "a5"
        self.machine(forwarder).agent.freeze()
        with self.flow(self.targets()[0]) as flow:
            self.lab.launch(newcomer, "a")
            soon("the newcomer has a block", lambda: bool(self.block_of(newcomer)))
            time.sleep(OBSERVED)
            early = self.lab.is_ready(newcomer) and self.way_to(newcomer) == forwarder
            moved = not set(before) <= set(self.routes())
            self.machine(forwarder).agent.thaw()
            soon("the newcomer ready", lambda: self.lab.is_ready(newcomer))
            figures = flow.look()
        return {"trial": "join", "lost": figures.lost, "moved": moved, "early": early}

    def news(self) -> dict[str, Any]:
        """A node joins while a sibling that relays for nobody is frozen, and so has not heard of it."""
        subnet, newcomer = self.lab.ids["a"], "a6"
        soon("a's own table leads to a", lambda: bool(self.lab.store.recall().maps[subnet].led_here))
        told = self.lab.store.recall().maps[subnet]
        stale = next(node for node in self.lab.nodes("a") if self.lab.ids[node] not in told.forwarders)
        machine = self.machine(stale)
        soon("the sibling holds the map", lambda: self.held(stale) >= told.generation)
        machine.agent.freeze()
        self.lab.launch(newcomer, "a")
        soon("the newcomer ready", lambda: self.lab.is_ready(newcomer))
        (block,) = self.block_of(newcomer)
        ignorant = not machine.host.tool("ip", "route", "show", str(block))
        pods = [self.lab.pod(node) for node in (stale, newcomer)]
        ways = [(one, two.address) for one, two in permutations(pods)]
        lost = sum(ping(pod, address, count=10).lost for pod, address in ways)
        before = [len(trace(pod, address).relays) for pod, address in ways]
        machine.agent.thaw()
        soon("the sibling has heard", lambda: bool(machine.host.tool("ip", "route", "show", str(block))))
        after = [len(trace(pod, address).relays) for pod, address in ways]
        said = {"trial": "news", "lost": lost, "ignorant": ignorant}
        return said | {"relays": before, "relays_after": after}

    def held(self, node: str) -> int:
        """The generation that the node's kernel holds, as its agent says."""
        path = self.machine(node).host.directory / "state" / "status.json"
        return int(json.loads(path.read_text())["generation"]["kernel"])

    def stay_well(self, seconds: float) -> dict[str, Any]:
        """Keep every CPU busy for a while, with traffic both ways: nothing may move."""
        before, mark = self.routes(), self.lab.ec2.calls.mark()
        spinning = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)
        ]
        try:
            with self.flow(self.targets()[0]) as there, self.back() as back:
                time.sleep(seconds)
                lost = [flow.look().lost for flow in (there, back)]
        finally:
            for one in spinning:
                one.kill()
                one.wait()
        writes = [call for call in self.lab.ec2.calls.made("*Route", since=mark) if not call.error]
        said = [line for node in self.lab.nodes("a") for line in self.log(node)]
        return {
            "trial": "healthy",
            "seconds": seconds,
            "lost": sum(lost),
            "moved": self.routes() != before,
            "writes": len(writes),
            "suspicions": sum(line["event"] == "forwarder suspected" for line in said),
            "rounds": round(sum(self.metric(node, RELAYED_ANSWERED) for node in self.watchers())),
            "misses": round(sum(self.metric(node, RELAYED_LOST) for node in self.watchers())),
        }

    @contextmanager
    def back(self) -> Iterator[Flow]:
        """1 kHz the other way."""
        flow = self.traffic.start(self.lab.pod(self.targets()[0]), self.lab.pod("b1"), rate=RATE)
        try:
            yield flow
        finally:
            flow.stop()

    def way_to(self, node: str) -> str:
        """The next hop of packets from b to the node's block."""
        (block,) = self.block_of(node)
        routes = [(to.length, hop) for to, hop in self.lab.managed("b") if to.contains(block)]
        return max(routes)[1]

    def block_of(self, node: str) -> tuple[Prefix, ...]:
        """The node's blocks, as the inventory has them."""
        return next((one.prefixes for one in self.lab.members() if one.id == self.lab.ids[node]), ())

    def metric(self, node: str, name: str) -> float:
        """A metric of the node's agent, read on the node."""
        with self.machine(node).host.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", 9469))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            with client.makefile() as page:
                return next(float(line.split()[1]) for line in page if line.startswith(f"{name} "))


UNHEARD = "table inet lab_unheard\ndelete table inet lab_unheard\n"


def unheard(address: str) -> str:
    """One node's probes are lost inside the forwarder, which relays everybody else's packets."""
    lines = ("type filter hook forward priority -1", f"ip saddr {address} drop")
    return "\n".join([UNHEARD, "table inet lab_unheard {", "chain forward {", *lines, "}", "}", ""])


HARMLESS = (
    "agent frozen",
    "agent killed",
    "prober cut off",
    "prober's port down",
    "one prober unheard",
)


def flows_since(figures: Figures, moment: float) -> bool:
    """Whether packets have arrived for half a second, all sent after *moment*."""
    now = time.monotonic()
    ends = [one.began + one.ms / 1000 for one in figures.outages]
    return now - moment > 1.0 and all(now - end > 0.75 for end in ends)  # a packet may take 0.25 s


def outage(figures: Figures, *, since: float) -> float:
    """Seconds from *since* until traffic flowed for good."""
    return max((one.began + one.ms / 1000 - since for one in figures.outages), default=0.0)


@contextmanager
def stage() -> Iterator[Stage]:
    """A lab that is ready for trials."""
    with Lab(PLAN, with_fabric=True) as lab, Traffic() as traffic:
        made = Stage(lab, traffic)
        made.start()
        made.settle()
        yield made


def main(arguments: Sequence[str]) -> int:
    """Play the trials named, or each fault *rounds* times in the seed's order."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--healthy", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("names", nargs="*")
    asked = parser.parse_args(arguments)
    chance = random.Random(asked.seed)
    rounds = [chance.sample(sorted(FAULTS), len(FAULTS)) for _ in range(asked.rounds)]
    names = asked.names or ([] if asked.healthy else [name for one in rounds for name in one])
    enter()
    with stage() as made:
        if asked.healthy:
            say(made.stay_well(asked.healthy))
        for number, name in enumerate(names):
            if number:
                made.settle()
            say(made.play(name))
        say({"trial": "referee", "breaches": [f"{one.invariant} {one.what}" for one in made.lab.review()]})
    return 0


def play_apart(*arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What trials in a process of their own said, and what is wrong with that; nothing if all is well."""
    command = [sys.executable, "-m", "tests.lab.trials", *arguments]
    played = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = played.stdout.splitlines()
    said = [json.loads(line) for line in lines if line.startswith('{"trial"')]  # functions may print, too
    breaches = [breach for one in said for breach in one.get("breaches", ())]
    wrong = played.stderr.strip().splitlines()[-1:] if played.returncode else breaches
    return said, "; ".join(wrong) or ("ended early" if played.returncode else "")


def say(said: dict[str, Any]) -> None:
    """A line of output."""
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
