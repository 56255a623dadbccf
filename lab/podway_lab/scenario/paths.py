"""Sentences about the paths that packets take from pod to pod.

The player knows them by `PATHS`.
"""

from __future__ import annotations

import re
from itertools import product

from podway.domain.model import counted

from podway_lab.fabric.sweep import matrix, sweep
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

PATHS = Verbs()


@PATHS.says(r"show paths")
def _show(stage: Stage, _: re.Match[str]) -> str:
    stage.need_packets()
    rows = []
    for a, b in product(stage.lab.subnets, repeat=2):
        source = stage.lab.nodes(a)[0]
        target = next(node for _, node in reversed(stage.by_load(b)) if node != source)  # no forwarder
        path, rtt = stage.reach(source, target)
        relays = stage.relays(path)
        if relays:
            text = f"through forwarder {', '.join(relays)}"
        else:
            text = "inside the subnet" if a == b else "direct"
        rows.append((f"pod {source}", f"pod {target}", text, f"{rtt:.2f} ms"))
    stage.report.paths(rows)
    return ""


@PATHS.says(r"pods reach pods")
def _all_reach(stage: Stage, _: re.Match[str]) -> str:
    stage.need_packets()
    found = sweep({node: stage.lab.pod(node) for node in stage.lab.nodes()})
    if missing := [f"pod {source} → pod {target}" for (source, target), one in found.items() if one is None]:
        raise NotSo(f"no way: {', '.join(missing[:10])}{' …' if missing[10:] else ''}\n{matrix(found)}")
    relayed = sum(one.relays > 0 for one in found.values() if one)
    if any(one.relays > 1 for one in found.values() if one):
        raise NotSo(f"more than one relay\n{matrix(found)}")
    return f"{counted(len(found) - relayed, 'pair')} directly, {relayed} through a forwarder"


@PATHS.says(
    r"pod (?P<source>\S+) reaches pod (?P<target>\S+)(?: (?:(?P<direct>directly)|through (?P<relay>.+)))?"
)
def _reaches(stage: Stage, match: re.Match[str]) -> str:
    path, rtt = stage.reach(match["source"], match["target"])
    relays = stage.relays(path)
    if match["direct"] and relays:
        raise NotSo(f"the way leads through {', '.join(relays)}")
    if match["relay"] and relays != [stage.chosen(match["relay"])]:
        raise NotSo(f"the way leads through {', '.join(relays) or 'nobody'}")
    return f"{'through ' + ', '.join(relays) if relays else 'directly'}, {rtt:.2f} ms"


@PATHS.says(r"pod (?P<source>\S+) reaches a pod of (?P<subnet>\S+) (?P<way>directly|through a forwarder)")
def _reaches_one(stage: Stage, match: re.Match[str]) -> str:
    """Take whichever pod fits: the planner decides which of the subnet's nodes have routes of their own."""
    for target in stage.lab.nodes(match["subnet"]):
        path, rtt = stage.reach(match["source"], target)
        relays = stage.relays(path)
        if bool(relays) == (match["way"] == "through a forwarder"):
            through = f" through {', '.join(relays)}" if relays else ""
            return f"pod {target}{through}, {rtt:.2f} ms"
    raise NotSo(f"no pod of {match['subnet']} is reached {match['way']}")
