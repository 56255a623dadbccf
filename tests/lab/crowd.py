"""Three zones of twenty nodes each, brought up in a lab of its own process: ``python -m tests.lab.crowd``.

Prints seconds since the start by phase, and how many pairs of pods did not reach each other, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from podway_lab.fabric.entry import enter
from podway_lab.fabric.sweep import sweep
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.machines import Fleet

EACH = 20
PATIENCE = 600.0
PLAN = LabPlan(
    cluster="crowd",
    quota=20,
    subnets=tuple(
        SubnetPlan(
            zone,
            f"10.0.{16 * place}.0/20",
            f"us-west-2{zone}",
            tuple(f"{zone}{number}" for number in range(1, EACH + 1)),
        )
        for place, zone in enumerate("abc")
    ),
)


def play() -> dict[str, float]:
    """Bring all up and try all pairs."""
    began, phases = time.monotonic(), {}

    def note(phase: str) -> None:
        phases[phase] = time.monotonic() - began

    with Lab(PLAN, with_fabric=True) as lab:
        fleet = lab.fleet
        assert isinstance(fleet, Fleet), "there are no kernels"
        lab.launch_all()
        lab.wait(lambda: len(fleet.machines) == len(lab.nodes()), PATIENCE)
        note("all instances run, an agent on each")
        with ThreadPoolExecutor(max_workers=4) as starters:
            lab.wait(lambda: all(starters.map(lab.is_ready, lab.nodes())), PATIENCE)
        note("all nodes are ready, a pod on each")
        found = sweep({node: lab.pod(node) for node in lab.nodes()})
        note("a packet from each pod to each other")
        phases["pairs"], phases["missing"] = len(found), sum(one is None for one in found.values())
        phases["breaches"] = len(lab.review())
    return phases


if __name__ == "__main__":
    enter()
    sys.stdout.write(json.dumps(play()) + "\n")
