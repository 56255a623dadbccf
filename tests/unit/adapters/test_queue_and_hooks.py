"""Hints, lifecycle hooks, the quota, the clock and the threads, at the edge to AWS."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from podway.adapters.autoscaling import AutoScalingHooks
from podway.adapters.correlation import correlate
from podway.adapters.machine import SystemClock, Threads
from podway.adapters.queue import HintQueue
from podway.adapters.quotas import RouteQuota
from podway.app.errors import NeedsOperator, TryAgain
from podway.domain.signals import Hint, LifecycleHook
from podway.wire.batches import hints

from tests.fakes.world import FakeClock

HOOK = LifecycleHook("workers", "podway-terminate", "token", "i-1")


@dataclass
class Client:
    """Answers every call alike, or refuses it with *refusal*; keeps what it was given."""

    answer: Mapping[str, Any] = field(default_factory=dict)
    refusal: tuple[str, str] | None = None
    given: list[dict[str, Any]] = field(default_factory=list)

    def _call(self, **given: Any) -> Mapping[str, Any]:
        self.given.append(given)
        if self.refusal is not None:
            code, message = self.refusal
            raise ClientError({"Error": {"Code": code, "Message": message}}, "Call")
        return self.answer

    send_message = complete_lifecycle_action = record_lifecycle_action_heartbeat = _call
    get_service_quota = _call


def queue(client: Any) -> HintQueue:
    return HintQueue(client, url="http://queue.fifo", clock=FakeClock())


def quota(client: Any, *, fixed: int = 0) -> RouteQuota:
    return RouteQuota(client, fixed=fixed)


def hooks(client: Any) -> AutoScalingHooks:
    return AutoScalingHooks(client)


def test_a_hint_is_read_back_by_the_one_who_waits_for_it() -> None:
    client = Client()

    Context().run(queue(client).hint, "i-1 runs")  # whatever event another test has left as the cause

    (sent,) = client.given
    (received,) = hints({"Records": [{"messageId": "1", "body": sent["MessageBody"]}]}, account=None)
    assert received.says == Hint(sent["MessageDeduplicationId"], FakeClock().now(), "i-1 runs")


def test_no_hint_is_taken_for_another_and_all_wait_in_one_line() -> None:
    client = Client()

    for _ in range(2):
        queue(client).hint("the same reason")

    assert len({sent["MessageDeduplicationId"] for sent in client.given}) == 2
    assert len({sent["MessageBody"] for sent in client.given}) == 2, "content-based deduplication"
    assert len({sent["MessageGroupId"] for sent in client.given}) == 1


def test_a_completed_hook_lets_the_group_go_on() -> None:
    client = Client()

    hooks(client).complete(HOOK)

    assert client.given[0]["LifecycleActionResult"] == "CONTINUE"
    assert client.given[0]["LifecycleActionToken"] == "token"


def test_an_extended_hook_waits_longer() -> None:
    client = Client()

    hooks(client).extend(HOOK)
    hooks(Client(refusal=("ValidationError", "No active Lifecycle Action found with token x"))).extend(HOOK)

    assert client.given == [
        {"AutoScalingGroupName": HOOK.group, "LifecycleHookName": HOOK.name, "LifecycleActionToken": "token"}
    ]


def test_a_hint_names_the_event_that_caused_it_also_from_a_thread() -> None:
    client = Client()
    told = copy_context()
    told.run(correlate, "the event")

    told.run(Threads(1).start, partial(queue(client).hint, "i-1 failed")).result()

    (received,) = hints(
        {"Records": [{"messageId": "1", "body": client.given[0]["MessageBody"]}]}, account=None
    )
    assert isinstance(received.says, Hint)
    assert received.says.cause == "the event"


def test_a_hook_that_waits_no_longer_is_success_and_any_other_refusal_is_not() -> None:
    hooks(Client(refusal=("ValidationError", "No active Lifecycle Action found with token x"))).complete(HOOK)

    with pytest.raises(NeedsOperator):
        hooks(Client(refusal=("AccessDenied", "not allowed"))).complete(HOOK)
    with pytest.raises(TryAgain):
        hooks(Client(refusal=("Throttling", "slow down"))).complete(HOOK)


def test_the_quota_is_asked_once_and_a_fixed_one_never() -> None:
    client = Client({"Quota": {"Value": 750.0}})
    asked = quota(client)

    assert [asked.value(), asked.value()] == [750, 750]
    assert len(client.given) == 1
    assert quota(client, fixed=600).value() == 600
    assert len(client.given) == 1


def test_a_quota_that_was_never_changed_is_the_default() -> None:
    assert quota(Client(refusal=("NoSuchResourceException", ""))).value() == 500
    assert quota(None).value() == 500


@pytest.mark.parametrize("code", ["AccessDeniedException", "Throttling", "SomethingNew"])
def test_a_quota_that_cannot_be_read_is_unknown_and_is_asked_again(code: str) -> None:
    client = Client({"Quota": {"Value": 750.0}}, refusal=(code, ""))
    asked = quota(client)

    assert asked.value() is None
    assert asked.known() == 500
    client.refusal = None
    assert asked.value() == 750


def test_the_clock_tells_the_time_with_its_zone() -> None:
    assert SystemClock().now().tzinfo is UTC
    earlier = SystemClock().now()
    assert earlier <= SystemClock().now()


def test_calls_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)
    threads = Threads(2)

    waiting = [threads.start(both.wait) for _ in range(2)]

    assert sorted(one.result() for one in waiting) == [0, 1]
