"""The parts fit together, and the times that depend on each other agree with the template."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from podway import bootstrap
from podway.app.failover import Failover
from podway.app.lifecycle import Lifecycle
from podway.app.reconcile import Reconcile
from podway.config import BadSettings
from podway.domain.failover.decide import CLAIM_LASTS
from podway_lab.stack.template import Place, Template

ENVIRONMENT = {
    "PODWAY_CLUSTER": "demo",
    "PODWAY_POD_CIDRS": "100.64.0.0/16",
    "PODWAY_TABLE": "podway",
    "PODWAY_QUEUE_URL": "http://127.0.0.1:9/queue.fifo",
    "AWS_DEFAULT_REGION": "us-west-2",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    bootstrap.forget()
    yield
    bootstrap.forget()


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())


def seconds(template: Template, resource: str, name: str) -> timedelta:
    return timedelta(seconds=int(template.properties(resource)[name]))


def test_every_use_case_is_built_without_a_call_and_only_once() -> None:
    assert isinstance(bootstrap.reconcile(), Reconcile)
    assert isinstance(bootstrap.lifecycle(), Lifecycle)
    assert isinstance(bootstrap.failover(), Failover)
    assert bootstrap.failover() is bootstrap.failover()


def test_a_misspelt_variable_stops_every_use_case_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_QUARANTINE", "600")

    for build in (bootstrap.reconcile, bootstrap.failover, bootstrap.lifecycle):
        with pytest.raises(BadSettings, match="PODWAY_QUARANTINE"):
            build()


def test_a_killed_run_lets_go_of_its_lease_before_its_hint_is_seen_again(template: Template) -> None:
    timeout = seconds(template, "ReconcileFunction", "Timeout")

    assert timeout == bootstrap.RECONCILE_TIMEOUT
    assert seconds(template, "HintQueue", "VisibilityTimeout") >= timeout + timedelta(seconds=5)
    assert timeout / 2 > bootstrap.STOP_BEFORE


@pytest.mark.parametrize("function", ["FailoverFunction", "LifecycleFunction"])
def test_a_claim_outlives_the_function_that_made_it(template: Template, function: str) -> None:
    assert seconds(template, function, "Timeout") <= CLAIM_LASTS
