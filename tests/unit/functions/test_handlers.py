"""The handlers, invoked with one file per event that AWS documents, against a whole region."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from podway_lab.lab import FUNCTIONS, Lab, LabPlan, SubnetPlan
from podway_lab.stack.delivery import Delivery
from podway_lab.stack.functions import Invocation

from tests import limits

EVENTS = Path("tests/events")
STREAM = {path.stem for path in EVENTS.glob("stream-*.json")}
QUEUE = {path.stem for path in EVENTS.glob("queue-*.json")}
BUS = sorted({path.stem for path in EVENTS.glob("*.json")} - STREAM - QUEUE)
DROPPED = {
    "asg-test-notification",
    "cloudtrail-refused-replace-route",
    "cloudwatch-alarm-composite",
    "cloudwatch-alarm-metric-math",  # the alarms of these two are nobody's of ours
    "cloudwatch-alarm-of-somebody-else",
    "cloudwatch-alarm-of-no-instance",
    "foreign-account-state-terminated",
    "health-issue-of-other-service",
    "unknown-ebs-volume",
    *(path.stem for path in EVENTS.glob("malformed-*.json")),
}
PLAN = LabPlan(
    tick=3600,
    alarm_prefix="podway-production-",
    subnets=(SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1",)),),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A cluster whose instances none of the files speaks of."""
    with Lab(PLAN, with_fabric=False) as lab:
        lab.launch_all()
        assert lab.wait(lambda: lab.is_ready("a1"), limits.PATIENCE_SECONDS)
        lab.fleet.close()  # nothing but the test wakes a function from now on
        assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        yield lab


def load(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def invoke(delivery: Delivery, function: str, event: Mapping[str, Any]) -> Invocation:
    return delivery.invoke(function, dict(event))


def metrics(printed: str) -> dict[str, float]:
    """The EMF metrics among what was printed."""
    lines = [json.loads(line) for line in printed.splitlines() if "_aws" in line]
    return {
        name: line[name][0] if isinstance(line[name], list) else line[name]
        for line in lines
        for directive in line["_aws"]["CloudWatchMetrics"]
        for name in (metric["Name"] for metric in directive["Metrics"])
    }


@pytest.mark.parametrize("function", ["FailoverFunction", "LifecycleFunction"])
@pytest.mark.parametrize("name", BUS)
def test_every_documented_event_is_understood_or_counted_and_dropped(
    lab: Lab, function: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark = lab.ec2.calls.mark()

    invocation = invoke(lab.delivery, function, load(name))

    assert invocation.error == ""
    assert invocation.result["dropped"] == int(name in DROPPED), invocation.printed
    printed = invocation.printed + capsys.readouterr().out  # pytest takes standard output from the lab
    assert metrics(printed)["EventsDropped"] == int(name in DROPPED)
    writes = [
        call.action
        for call in lab.ec2.calls.made(caller=f"{FUNCTIONS}/*", since=mark)
        if not call.action.split(":")[1].startswith(("Describe", "Get", "Query")) and not call.error
    ]
    assert writes == [], "an event about nobody of ours cost a write"


@pytest.mark.parametrize("function", ["FailoverFunction", "LifecycleFunction"])
@pytest.mark.parametrize("name", sorted(STREAM))
def test_what_agents_write_reaches_the_handlers(lab: Lab, function: str, name: str) -> None:
    invocation = invoke(lab.delivery, function, load(name))

    assert invocation.error == ""
    total = len(load(name)["Records"])
    dropped = total if name in {"stream-agent-forged-instance", "stream-other-items"} else 0
    assert invocation.result["dropped"] == dropped


@pytest.mark.parametrize("name", sorted(QUEUE))
def test_hints_start_one_reconcile_and_what_is_none_starts_none(lab: Lab, name: str) -> None:
    invocation = invoke(lab.delivery, "ReconcileFunction", load(name))

    assert invocation.error == ""
    assert invocation.result == {"batchItemFailures": []}
    assert ("reconciled" in invocation.printed) == (name == "queue-hints")


def test_a_run_tells_of_its_tables_its_limits_and_what_caused_it(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    event = load("queue-hints")
    ours = next(one for one in event["Records"] if "hint" in json.loads(one["body"]))
    ours["body"] = json.dumps(json.loads(ours["body"]) | {"cause": "the first event"})

    invocation = invoke(lab.delivery, "ReconcileFunction", event)

    printed = invocation.printed + capsys.readouterr().out
    told = metrics(printed)
    assert told.keys() >= {"Routes", "RouteBudget", "Holes", "FrozenSubnets", "UnhealthyNodes", "Throttles"}
    assert told.keys() >= {"DriftFound", "DriftRepaired", "LimitsNear", "LimitsReached", "OldestHintSeconds"}
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    dimensions = [
        tuple(one["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) for one in lines if "_aws" in one
    ]
    assert max(map(len, dimensions)) <= 3, "few dimensions"
    (line,) = (one for one in lines if one.get("message") == "reconciled")
    assert line["correlation_id"] == "the first event"
    assert "the first event" in line["causes"]


def test_handlers_import_with_an_empty_environment() -> None:
    code = (
        "import importlib.util, sys\n"
        "for path in sys.argv[1:]:\n"
        "    spec = importlib.util.spec_from_file_location(path.replace('/', '_')[:-3], path)\n"
        "    spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
    )
    handlers = [str(path) for path in sorted(Path("functions").glob("*/app.py"))]

    done = subprocess.run(
        [sys.executable, "-c", code, *handlers], env={}, capture_output=True, text=True, check=False
    )

    assert len(handlers) == 3
    assert done.returncode == 0, done.stderr
