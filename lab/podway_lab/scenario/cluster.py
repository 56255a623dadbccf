"""Sentences about the cluster as a whole: its start, its health, its operators, its end.

The player knows them by `CLUSTER`.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta

from podway.domain.model import counted

from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

CLUSTER = Verbs()


@CLUSTER.says(r"say (?P<text>.+)")
def _say(stage: Stage, match: re.Match[str]) -> str:
    stage.report.heading(match["text"])
    return ""


@CLUSTER.says(r"start")
def _start(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.launch_all()
    return (
        f"{counted(len(stage.lab.nodes()), 'instance')} in {counted(len(stage.lab.plan.subnets), 'subnet')}"
    )


@CLUSTER.says(r"node (?P<node>\S+) joins (?P<subnet>\S+)")
def _joins(stage: Stage, match: re.Match[str]) -> str:
    return stage.lab.launch(match["node"], match["subnet"])


@CLUSTER.says(r"wait (?P<seconds>\d+)s")
def _wait(_: Stage, match: re.Match[str]) -> str:
    time.sleep(int(match["seconds"]))
    return ""


# ---- whether it is well -----------------------------------------------------------------------------


@CLUSTER.says(r"all nodes are ready")
def _all_ready(stage: Stage, _: re.Match[str]) -> str:
    waiting = [node for node in stage.lab.nodes() if not stage.lab.is_ready(node)]
    if waiting:
        raise NotSo(f"not ready: {', '.join(waiting)}")
    return ", ".join(stage.lab.nodes())


@CLUSTER.says(r"node (?P<node>\S+) is ready")
def _ready(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    if not stage.lab.is_ready(node):
        raise NotSo(f"{node} is not ready")
    return node


@CLUSTER.says(r"all is quiet")
def _quiet(stage: Stage, _: re.Match[str]) -> str:
    if not stage.lab.delivery.settle(1):
        raise NotSo("functions are still at work")
    return ""


@CLUSTER.says(r"events were doubled and delayed")
def _doubled_and_delayed(stage: Stage, _: re.Match[str]) -> str:
    fired = stage.lab.delivery.fired
    if not (fired["duplicate"] and fired["delay"]):
        raise NotSo(f"{fired['duplicate']} were doubled, {fired['delay']} delayed")
    return f"{fired['duplicate']} doubled, {fired['delay']} delayed"


@CLUSTER.says(r"the referee found nothing")
def _no_breach(stage: Stage, _: re.Match[str]) -> str:
    if breaches := stage.lab.review():
        raise NotSo("\n".join(f"{one.invariant} {one.what}" for one in breaches))
    if stage.lab.mirror.faults:
        raise NotSo("\n".join(stage.lab.mirror.faults))
    return f"{counted(stage.lab.referee.writes, 'write')} judged"


# ---- what operators ask of it -----------------------------------------------------------------------


@CLUSTER.says(r"drain (?P<node>.+)")
def _drain(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    stage.lab.podway.drain(stage.lab.ids[node])
    return node


@CLUSTER.says(r"undrain (?P<node>.+)")
def _undrain(stage: Stage, match: re.Match[str]) -> str:
    node = stage.chosen(match["node"])
    return f"{node}: withdrawn: {', '.join(stage.lab.podway.undrain(stage.lab.ids[node])) or 'nothing'}"


@CLUSTER.says(r"(?P<node>\S+) is drained")
def _is_drained(stage: Stage, match: re.Match[str]) -> str:
    if not stage.lab.podway.is_drained(stage.lab.ids[stage.chosen(match["node"])]):
        raise NotSo(f"{match['node']} still relays")
    return ""


@CLUSTER.says(r"release the cluster")
def _release(stage: Stage, _: re.Match[str]) -> str:
    done = stage.lab.podway.release(patience=timedelta(seconds=30))
    if not done.is_complete:
        raise NotSo(f"left: {done}")
    return f"{counted(len(done.deleted), 'route')} deleted"


@CLUSTER.says(r"no managed route is left")
def _nothing_left(stage: Stage, _: re.Match[str]) -> str:
    left = {one: [str(cidr) for cidr, _ in stage.lab.managed(one)] for one in stage.lab.subnets}
    if any(left.values()):
        raise NotSo(str(left))
    return ""


@CLUSTER.says(r"the cluster is managed again")
def _managed_again(stage: Stage, _: re.Match[str]) -> str:
    if not stage.lab.podway.resume():
        raise NotSo("it had not been released")
    return ""
