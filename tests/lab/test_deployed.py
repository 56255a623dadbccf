"""The stack as it is deployed: built and deployed by the SAM CLI, run by Lambda's own runtime."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from podway_lab.deployed.emulator import Emulated
from podway_lab.deployed.sam import Built, NotEquipped, build, checkout, find_tools
from podway_lab.fabric.scratch import remove_dead
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.machines import wait_until
from podway_lab.region.changes import RouteWritten
from podway_lab.region.faults import Kind
from podway_lab.region.policies import Policy, Statement
from podway_lab.region.state import Route
from podway_lab.sources import TEMPLATE
from podway_lab.stack.template import SourceMapping, Template

from tests import limits
from tests.lab.playing import play, told

pytestmark = [pytest.mark.sam, limits.long]

PLAN = LabPlan(
    tick=3600,
    quota=9,
    subnets=(
        SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1", "a2", "a3"), foreign=4),
        SubnetPlan("b", "10.0.16.0/20", "us-west-2b", ("b1", "b2", "b3"), foreign=4),
    ),
)


@pytest.fixture(scope="session")
def built() -> Built:
    try:
        return build(checkout(), find_tools(checkout()))
    except NotEquipped as reason:
        if os.environ.get("NO_SKIPS"):
            pytest.fail(str(reason))
        raise pytest.skip.Exception(str(reason), _use_item_location=True) from reason


@pytest.fixture(scope="module")
def lab(built: Built) -> Iterator[Lab]:
    """Two subnets whose nodes are ready, and quiet."""
    with Lab(PLAN, with_fabric=False, deployed=built) as lab:
        lab.launch_all()
        assert lab.wait(
            lambda: all(map(lab.is_ready, lab.nodes())) and len(lab.nodes()) == 6, limits.PATIENCE_SECONDS
        )
        assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        yield lab


def declared(lab: Lab) -> Template:
    """What the template says, put into the same place with the same parameters."""
    vpc = next(iter(lab.ec2.state.vpcs))
    return Template(TEMPLATE, lab._parameters(vpc), lab._place())


def in_ec2(policy: Policy) -> list[Statement]:
    """What it says of EC2: other services' resources have names of the stack's own choice."""
    return [one for one in policy.statements if one.actions[0].startswith("ec2:")]


def known(mapping: SourceMapping) -> tuple[str, str, str, int, int]:
    return mapping.name, mapping.function, mapping.source, mapping.batch, mapping.retries


def test_what_stands_is_what_the_template_declares(lab: Lab) -> None:
    stack, template = lab.delivery.stack, declared(lab)

    wanted, found = template.functions(), stack.functions()

    assert found.keys() == wanted.keys()
    for name, spec in wanted.items():
        one = found[name]
        assert one.environment.keys() == spec.environment.keys()
        assert (one.handler, one.timeout, one.memory) == (spec.handler, spec.timeout, spec.memory)
        assert in_ec2(Policy.parse(stack.permissions(name))) == in_ec2(
            Policy.parse(template.permissions(name))
        )
        assert (one.retries, bool(one.on_failure)) == (spec.retries, bool(spec.on_failure))
    rules = [
        [(one.name, one.every, len(one.targets)) for one in all_of.rules()] for all_of in (stack, template)
    ]
    assert sorted(rules[0]) == sorted(rules[1])
    mappings = [sorted(map(known, all_of.source_mappings())) for all_of in (stack, template)]
    assert mappings[0] == mappings[1]
    assert [one.filters for one in sorted(stack.source_mappings(), key=lambda one: one.name)] == [
        one.filters for one in sorted(template.source_mappings(), key=lambda one: one.name)
    ]


def test_functions_run_from_the_archives_of_the_layers_under_the_real_runtime(lab: Lab) -> None:
    ran = lab.delivery.invocations("ReconcileFunction")

    assert ran
    assert all("INIT REPORT" in one.printed or "INVOKE START" in one.printed for one in ran)
    assert "exec '" in ran[0].printed
    if os.geteuid() == 0:
        assert "cwd=/var/task" in ran[0].printed


def test_three_state_events_of_one_instance_at_once_move_each_route_once_cold_and_in_few_calls(
    lab: Lab,
) -> None:
    """At most 3 waves of calls, and 5 calls more than routes through the node that carry others' blocks."""
    relayed = {
        (table, str(one)): hop
        for table in ("a", "b")
        for one, hop in lab.managed(table)
        if one not in lab.direct(table)
    }
    victim = next(hop for (table, _), hop in relayed.items() if table == "a" and hop in lab.nodes("b"))
    through = [place for place, hop in relayed.items() if hop == victim]
    moves: list[tuple[str, str]] = []
    ours = lab.names

    def hear(change: object) -> None:
        match change:
            case RouteWritten(before=Route() as before, after=Route() as after):
                if before.target != after.target:
                    moves.append((ours[change.table].removeprefix("rtb-"), str(change.destination)))

    lab.ec2.subscribe(hear)
    before = len(lab.delivery.invocations("FailoverFunction"))
    lab.delivery.chill("FailoverFunction")
    lab.ec2.faults.arm(Kind.BROKEN, action="sqs:ReceiveMessage")  # a warm reconcile may be faster

    lab.operator.stop_instances(InstanceIds=[lab.ids[victim]])
    lab.operator.terminate_instances(InstanceIds=[lab.ids[victim]])
    assert lab.wait(
        lambda: len(lab.delivery.invocations("FailoverFunction")) >= before + 4, limits.PATIENCE_SECONDS
    )
    lab.ec2.faults.disarm(Kind.BROKEN)
    assert lab.delivery.settle(limits.PATIENCE_SECONDS)

    ran = lab.delivery.invocations("FailoverFunction")[before:]
    moving = [one for one in ran if (one.result or {}).get("moved")]
    assert [one.error for one in ran] == [""] * len(ran)
    assert "INIT REPORT" in ran[0].printed
    assert sorted(one for one in moves if one in through) == sorted(through)
    assert len(moving) == 1
    made = lab.calls_of(moving[0])
    last = max(call.ended for call in made if call.action == "ec2:ReplaceRoute")
    assert sum(call.began <= last for call in made) <= len(through) + 5, moving[0].printed
    assert moving[0].result["waves"] <= 3
    assert lab.review() == []


CRASHING = """
import os, signal, sys
from pathlib import Path
from podway_lab.deployed.sam import build, checkout, find_tools
from podway_lab.fabric.scratch import remove_dead
from podway_lab.lab import Lab
from tests.lab.test_deployed import PLAN, writing_below
with Lab(PLAN, with_fabric=False, deployed=build(checkout(), find_tools(checkout()))) as lab:
    lab.delivery.tick()
    lab.wait(lambda: bool(lab.delivery.invocations()), 120)
    print(len(writing_below(Path(sys.argv[1]))), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crashed_labs_processes_go_with_it_and_its_files_with_the_next_lab(
    built: Built, tmp_path: Path
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", CRASHING, str(tmp_path)]

    crashed = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limits.APART_SECONDS,
        check=False,
    )

    assert int(crashed.stdout) > 1, crashed.stderr
    assert wait_until(lambda: not writing_below(tmp_path), timeout=limits.PATIENCE_SECONDS)
    assert list(tmp_path.glob("podway-lab-*"))
    remove_dead(tmp_path)
    assert not list(tmp_path.glob("podway-lab-*"))


def writing_below(folder: Path) -> list[str]:
    """Processes whose output goes to a file in *folder*: emulators, and the runtimes in them."""
    found = []
    for output in Path("/proc").glob("[0-9]*/fd/1"):
        with contextlib.suppress(OSError):
            if output.readlink().is_relative_to(folder):
                found.append(output.parts[2])
    return found


def test_an_environment_serves_one_event_after_another_and_starts_cold_after_a_rest(lab: Lab) -> None:
    host = lab.delivery._functions["FailoverFunction"]
    environments = [one for one in host._environments if isinstance(one, Emulated)]
    event = {"id": "strange", "source": "nobody"}

    starts = sum(one.starts - one.deaths for one in environments)
    warm = [lab.delivery.invoke("FailoverFunction", event) for _ in range(3)]
    lab.delivery.chill("FailoverFunction")
    cold = lab.delivery.invoke("FailoverFunction", event)

    assert len(environments) == 3
    assert [one.error for one in (*warm, cold)] == [""] * 4
    assert ("INIT REPORT" in warm[-1].printed) == ("died before it answered" in warm[-1].printed)
    assert "INIT REPORT" in cold.printed
    assert sum(one.starts - one.deaths for one in environments) <= starts + 2


def test_events_come_twice_and_late_by_default(lab: Lab) -> None:
    fired = lab.delivery.fired

    assert fired["duplicate"]
    assert fired["delay"]


@pytest.mark.fabric
@pytest.mark.parametrize("scenario", ["demo", "stopped"])
def test_scenarios_come_true_with_the_stack_deployed_and_a_rough_bus(built: Built, scenario: str) -> None:
    """All of them do so in the soak job of this name (docs/soak/deployed.md)."""
    assert built.folder.exists()

    played = play(Path(f"tests/scenarios/{scenario}.scenario"), "--deployed")

    assert played.returncode == 0, told(played)
    assert "no breach of I1 to I4" in played.stdout


def test_without_a_python_of_lambda_s_version_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotEquipped, match=r"install Python 3.13, then run 'make setup' again"):
        find_tools(tmp_path)
