"""Sentences about traffic in the background, and about what it has lost.

The player knows them by `TRAFFIC`.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

from podway.domain.model import counted

from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

TRAFFIC = Verbs()
_RATE = 1000
"""Packets a second and flow, unless told otherwise: a loss shows to the millisecond."""


def _far_end(stage: Stage, subnet: str) -> str:
    """The end of a flow in *subnet*: the node that relays least, then the one with fewest direct routes.

    Packets to such a node go through a forwarder, which faults can then hit.
    """
    direct = Counter(owner for owner, hop in stage.carried() if owner == hop)
    return min((load, direct[node], node) for load, node in stage.by_load(subnet))[2]


@TRAFFIC.says(r"start traffic between zones(?: at (?P<rate>\d+) a second)?")
def _start(stage: Stage, match: re.Match[str]) -> str:
    stage.need_packets()
    rate = float(match["rate"] or _RATE)
    ends = [_far_end(stage, subnet) for subnet in stage.lab.subnets]
    for source, target in permutations(ends, 2):
        stage.background.start((source, stage.lab.pod(source)), (target, stage.lab.pod(target)), rate)
    return f"{counted(len(stage.background.flows), 'flow')} of {rate:.0f} packets a second"


@TRAFFIC.says(r"start traffic between all pods(?: at (?P<rate>\d+) a second)?")
def _start_all(stage: Stage, match: re.Match[str]) -> str:
    stage.need_packets()
    rate = float(match["rate"] or _RATE)
    for source, target in permutations(stage.lab.nodes(), 2):
        stage.background.start((source, stage.lab.pod(source)), (target, stage.lab.pod(target)), rate)
    return f"{counted(len(stage.background.flows), 'flow')} of {rate:.0f} packets a second"


@TRAFFIC.says(r"stop traffic")
def _stop(stage: Stage, _: re.Match[str]) -> str:
    stage.need_packets()
    stage.losses += stage.background.stop()
    return f"{counted(sum(one.lost for one in stage.losses), 'packet')} lost"


@TRAFFIC.says(r"show losses")
def _show_losses(stage: Stage, _: re.Match[str]) -> str:
    stage.need_packets()
    for line in stage.background.outages() or ["no packet was lost"]:
        stage.report.line(line)
    return ""


@TRAFFIC.says(r"no packet was lost")
def _nothing_lost(stage: Stage, _: re.Match[str]) -> str:
    stage.need_packets()
    sent = sum(figures.sent for *_, figures in stage.background.look())
    if not sent:
        raise NotSo("no packet has been counted yet")
    if lost := stage.background.lost():
        raise NotSo("\n".join([f"{lost} of {sent} packets lost", *stage.background.outages()]))
    return counted(sent, "packet")


@TRAFFIC.says(r"no flow was cut for (?P<ms>\d+) ms")
def _no_long_gap(stage: Stage, match: re.Match[str]) -> str:
    stage.need_packets()
    longest = max((figures.gap_ms for *_, figures in stage.background.look()), default=0.0)
    if longest >= int(match["ms"]):
        raise NotSo("\n".join([f"cut for {longest:.0f} ms", *stage.background.outages()]))
    return f"{longest:.0f} ms at the longest"
