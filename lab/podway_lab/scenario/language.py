"""The language of scenarios: what an operator does and expects, a sentence a line.

The command reads a file with `parse` before it starts a lab.

A scenario is text that a person can read aloud::

    cluster demo   pods 100.64.0.0/16   blocks /26
    quota 14   reserve 2
    subnet a 10.0.0.0/20   zone us-west-2a   nodes a1 a2 a3   foreign 7

    start
    within 60s all nodes are ready
    expect pods reach pods
    terminate the forwarder of b
    within 30s pods reach pods
    expect the referee found nothing

Lines that begin with ``cluster``, ``quota``, ``subnet``, ``tick`` (how often the schedule ticks) or
``delivery`` (what happens to events on their way) describe the cluster, and come first. The player carries
out the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from podway_lab.lab import LabPlan, SubnetPlan
from podway_lab.stack.delivery import DeliveryFaults


class BadScenario(ValueError):
    """The text is no scenario; the message names the line."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One line to carry out; *within* is how many seconds it may take to come true (0: now)."""

    line: int
    text: str
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A cluster, and what happens to it."""

    plan: LabPlan
    sentences: tuple[Sentence, ...]


_CLUSTER = re.compile(r"cluster (?P<name>\S+) pods (?P<pods>\S+) blocks /(?P<length>\d+)")
_QUOTA = re.compile(r"quota (?P<quota>\d+) reserve (?P<reserve>\d+)")
_SUBNET = re.compile(
    r"subnet (?P<name>\S+) (?P<cidr>\S+) zone (?P<zone>\S+) nodes (?P<nodes>.+?)( foreign (?P<foreign>\d+))?"
)
_DELIVERY = re.compile(
    r"delivery( doubles (?P<double>\d+)%)?( loses (?P<lose>\d+)%)?"
    r"( delays (?P<delay>\d+)% up to (?P<longest>\d+)s)? seed (?P<seed>\d+)"
)
_TICK = re.compile(r"tick (?P<seconds>\d+)s")
_WITHIN = re.compile(r"within (?P<seconds>\d+)s (?P<rest>.+)")


def parse(text: str) -> Scenario:
    """The scenario that *text* tells. Raises BadScenario."""
    plan = LabPlan()
    sentences: list[Sentence] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = " ".join(raw.partition("#")[0].split())
        if not line:
            continue
        if line.split()[0] in {"cluster", "quota", "subnet", "delivery", "tick"}:
            if sentences:
                raise BadScenario(f"line {number}: {line!r} must come before the first deed")
            plan = _described(plan, line, number)
        else:
            sentences.append(_sentence(line, number))
    if not plan.subnets:
        raise BadScenario("no line describes a subnet")
    return Scenario(plan, tuple(sentences))


def _sentence(line: str, number: int) -> Sentence:
    if match := _WITHIN.fullmatch(line):
        return Sentence(number, match["rest"], float(match["seconds"]))
    return Sentence(number, line.removeprefix("expect "))


def _described(plan: LabPlan, line: str, number: int) -> LabPlan:
    if match := _CLUSTER.fullmatch(line):
        return replace(plan, cluster=match["name"], pod_cidr=match["pods"], block_length=int(match["length"]))
    if match := _QUOTA.fullmatch(line):
        return replace(plan, quota=int(match["quota"]), reserve=int(match["reserve"]))
    if match := _DELIVERY.fullmatch(line):
        return replace(plan, delivery_faults=_delivery_faults(match))
    if match := _TICK.fullmatch(line):
        return replace(plan, tick=float(match["seconds"]))
    if match := _SUBNET.fullmatch(line):
        subnet = SubnetPlan(
            match["name"],
            match["cidr"],
            match["zone"],
            tuple(match["nodes"].split()),
            int(match["foreign"] or 0),
        )
        _refuse_repetition(plan.subnets, subnet, number)
        return replace(plan, subnets=(*plan.subnets, subnet))
    raise BadScenario(f"line {number}: {line!r} describes nothing that is known here")


def _delivery_faults(match: re.Match[str]) -> DeliveryFaults:
    share = {name: int(match[name] or 0) / 100 for name in ("double", "lose", "delay")}
    return DeliveryFaults(
        seed=int(match["seed"]),
        duplicate=share["double"],
        lose=share["lose"],
        delay=share["delay"],
        longest_delay=float(match["longest"] or 0),
    )


def _refuse_repetition(present: Iterable[SubnetPlan], new: SubnetPlan, number: int) -> None:
    names = [name for one in present for name in (one.name, *one.nodes)]
    for name in (new.name, *new.nodes):
        if name in names:
            raise BadScenario(f"line {number}: the name {name!r} is taken")
        names.append(name)
