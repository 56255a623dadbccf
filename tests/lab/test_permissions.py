"""The functions play the demo under the template's own policies: these allow all that it takes, and bind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from podway_lab.lab import FUNCTIONS, Lab
from podway_lab.region.calls import Made
from podway_lab.region.policies import Policy
from podway_lab.scenario.language import Scenario, parse
from podway_lab.scenario.player import Player
from podway_lab.scenario.report import Report
from podway_lab.scenario.stage import Stage
from rich.console import Console

from tests import limits

pytestmark = limits.long

DEMO = parse(Path("tests/scenarios/demo.scenario").read_text())
FAILOVER = f"{FUNCTIONS}/FailoverFunction"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(DEMO.plan, with_fabric=False) as lab:
        yield lab


def play(lab: Lab, scenario: Scenario) -> bool:
    return Player(Stage(lab, Report(Console(file=io.StringIO())))).play(scenario)


def made(lab: Lab, caller: str, *, error: str) -> set[str]:
    """Actions of the functions' calls that ended so."""
    calls: list[Made] = lab.ec2.calls.made("ec2:*", caller=caller)
    return {call.action for call in calls if call.error == error}


def test_every_function_may_do_what_it_does_in_the_demo(lab: Lab) -> None:
    assert play(lab, DEMO)

    assert made(lab, f"{FUNCTIONS}/*", error="UnauthorizedOperation") == set()
    assert made(lab, f"{FUNCTIONS}/ReconcileFunction", error="") >= {"ec2:CreateRoute", "ec2:CreateTags"}
    # by whoever sees a newcomer first: lifecycle is told of it, reconcile finds it
    assert "ec2:ModifyNetworkInterfaceAttribute" in made(lab, f"{FUNCTIONS}/*", error="")
    assert "ec2:ReplaceRoute" in made(lab, FAILOVER, error="")


def test_the_lab_refuses_what_is_taken_out_of_the_policy(lab: Lab) -> None:
    """The failover function loses ReplaceRoute: reconcile has to do it, and the lab says who was refused."""
    documents = deepcopy(lab.delivery.stack.permissions("FailoverFunction"))
    for one in documents[0]["Statement"]:
        if one["Action"] == "ec2:ReplaceRoute":
            one["Action"] = "ec2:DescribeVpcs"
    lab.ec2.bind(FAILOVER, Policy.parse(documents))
    lab.launch_all()
    assert lab.wait(lambda: all(map(lab.is_ready, lab.nodes())), timeout=120)
    forwarder = next(hop for _, hop in lab.managed("a"))

    lab.operator.terminate_instances(InstanceIds=[lab.ids[forwarder]])

    def is_refused() -> bool:
        return made(lab, FAILOVER, error="UnauthorizedOperation") == {"ec2:ReplaceRoute"}

    assert lab.wait(is_refused, timeout=120)
    assert "ec2:ReplaceRoute" not in made(lab, FAILOVER, error="")
