"""What a handler tells of an event that it could not deal with at once."""

from __future__ import annotations

import json
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from podway.app.errors import PodwayError, Throttled, TryAgain
from podway.domain.health.alarms import AlarmNames
from podway.domain.signals import InstanceState, Signal, StateChanged

from tests.unit.app.cluster import Play

EVENT: dict[str, Any] = json.loads(Path("tests/events/ec2-state-terminated.json").read_text())
CONTEXT: Any = SimpleNamespace(
    invoked_function_arn=f"arn:aws:lambda:us-west-2:{EVENT['account']}:function:failover",
    function_name="failover",
)


def told(play: Play, node: str, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """The metrics of the failover function when it hears that *node* is gone, and fails."""
    from podway.handling import metrics, react_to

    def react(signal: Signal) -> Any:
        gone = StateChanged(signal.event_id, play.clock.now(), node, InstanceState.TERMINATED)
        return play.failover.react(gone)

    @metrics.log_metrics
    def handler(event: dict[str, Any], context: Any) -> dict[str, int]:
        return react_to(event, context, react, alarms=lambda: AlarmNames("demo"))

    with pytest.raises(TryAgain):
        copy_context().run(handler, EVENT, CONTEXT)  # which event is the cause stays in there
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line)
    names = [one["Name"] for one in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    return {name: sum(line[name]) for name in names}


@pytest.mark.parametrize(("error", "throttled"), [(Throttled("too many"), 1), (TryAgain("500"), 0)])
def test_throttles_of_a_failover_are_counted_although_its_event_is_retried(
    error: PodwayError, throttled: int, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Play(nodes=("a1", "b1", "b2", "b3"), quota=6)
    play.settle()
    busy = play.forwarder_of("subnet-b", "rtb-a")
    routes = len(play.store.cards[busy].routes)
    play.cloud.enter(busy, InstanceState.TERMINATED)
    play.cloud.fail_after = {len(play.cloud.writes) + len(play.cloud.checks_cleared): error}

    counted = told(play, busy, capsys)

    assert play.cloud.fail_after == {}, "the failure this test is about never happened"
    assert counted["Throttles"] == throttled
    assert counted["RoutesMoved"] == routes - 1 > 0
    assert counted["FailoverCalls"] == routes
    assert "FailoverSeconds" not in counted, "it is not over yet"


def test_a_refused_look_at_the_tables_is_counted_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play(quota=5)
    play.settle()

    def refuse() -> Any:
        raise Throttled("too many")

    monkeypatch.setattr(play.cloud, "route_tables", refuse)

    assert told(play, play.forwarder_of("subnet-b", "rtb-a"), capsys)["Throttles"] == 1
