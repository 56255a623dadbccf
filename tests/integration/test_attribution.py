"""The lab tells whose calls are whose, though all functions share one process and its clients."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.region.faults import Kind
from podway_lab.scenario.report import Report
from podway_lab.scenario.stage import Stage
from rich.console import Console

from tests import limits

PLAN = LabPlan(
    tick=3600,
    quota=10,
    subnets=(
        SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1", "a2"), foreign=5),
        SubnetPlan("b", "10.0.16.0/20", "us-west-2b", ("b1", "b2", "b3")),
    ),
)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Nodes that are ready, and functions at rest."""
    with Lab(PLAN, with_fabric=False) as lab:
        lab.launch_all()
        assert lab.wait(
            lambda: all(map(lab.is_ready, lab.nodes())) and len(lab.nodes()) == 5, limits.PATIENCE_SECONDS
        )
        assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        yield lab


def test_what_a_reconcile_calls_beside_a_failover_does_not_count_with_it(lab: Lab) -> None:
    stage = Stage(lab, Report(Console(file=StringIO())))
    node = stage.chosen("the forwarder of b")
    lab.ec2.faults.arm(Kind.SLOW, seconds=0.1)

    def action() -> None:
        lab.delivery.tick()
        assert lab.wait(lambda: not lab.delivery.is_idle("ReconcileFunction"), limits.PATIENCE_SECONDS)
        lab.operator.terminate_instances(InstanceIds=[lab.ids[node]])

    stage.provoke("terminated", action, node)
    assert lab.delivery.settle(limits.PATIENCE_SECONDS)

    (counted,) = stage.handled
    (failover,) = (one for one in lab.delivery.invocations("FailoverFunction") if one.result["moved"])
    beside = [
        call
        for run in lab.delivery.invocations("ReconcileFunction")
        for call in lab.calls_of(run)
        if failover.started <= call.at <= failover.ended
    ]
    assert beside, "the reconcile that this test is about never ran beside the failover"
    assert counted.routes == failover.result["moved"]
    assert counted.calls <= counted.carrying + 5
