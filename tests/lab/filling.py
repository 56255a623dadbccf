"""A node whose pods use up its addresses, in a whole lab: the agent asks, the functions give, pods go on.

Run in a process of its own by ``test_filling``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from podway_lab.fabric.cni import CniFailed
from podway_lab.fabric.entry import enter
from podway_lab.fabric.host import Pod
from podway_lab.fabric.probes import ping
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.machines import Fleet

PLAN = LabPlan(
    block_length=29,
    subnets=(
        SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1", "a2")),
        SubnetPlan("b", "10.0.16.0/20", "us-west-2b", ("b1",)),
    ),
)
"""Blocks of eight addresses have room for five pods: the fourth is the one that makes the agent ask."""
PODS = 8
PATIENCE = 120.0


def fill() -> dict[str, Any]:
    """Start pods on one node until they no longer fit in one block; what became of it."""
    with Lab(PLAN, with_fabric=True) as lab:
        assert isinstance(lab.fleet, Fleet)
        lab.launch_all()
        assert lab.wait(lambda: all(map(lab.is_ready, lab.nodes())), PATIENCE), "nodes do not become ready"
        machine = lab.fleet.machines[lab.ids["a2"]]
        (first,) = (one.prefixes for one in lab.members() if one.id == lab.ids["a2"])
        pods: list[Pod] = [lab.pod("a2")]

        def another() -> bool:
            """One more pod, where there is an address for it; whether all are there."""
            try:
                pods.append(machine.host.add_pod(f"pod{len(pods)}", machine.conflist))
            except CniFailed as error:
                if "no IP addresses available" not in str(error):
                    raise
                time.sleep(1)  # a kubelet waits longer
            return len(pods) == PODS

        complete = lab.wait(another, PATIENCE)
        (then,) = (one.blocks for one in lab.members() if one.id == lab.ids["a2"])
        others = [len(one.blocks) for one in lab.members() if one.id != lab.ids["a2"]]
        far = lab.pod("b1")
        return {
            "complete": complete,
            "before": [str(prefix) for prefix in first],
            "blocks": [str(block.prefix) for block in then],
            "ready": [block.ready for block in then],
            "others": others,
            "pods": [pod.address for pod in pods],
            "lost": sum(ping(far, pod.address, count=2, timeout=10).lost for pod in pods),
            "breaches": [str(breach) for breach in lab.review()],
        }


if __name__ == "__main__":
    enter()
    sys.stdout.write(json.dumps(fill()) + "\n")
