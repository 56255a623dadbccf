"""Completes and extends Auto Scaling's lifecycle hooks, for lifecycle and reconcile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from podway.adapters.aws_errors import aws_errors
from podway.app.errors import NeedsOperator

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

    from podway.domain.signals import LifecycleHook


class AutoScalingHooks:
    """The Hooks port over an Auto Scaling client."""

    def __init__(self, client: AutoScalingClient) -> None:
        self._client = client

    def complete(self, hook: LifecycleHook) -> None:
        """Let the group go on."""
        with _still_waiting():
            self._client.complete_lifecycle_action(
                AutoScalingGroupName=hook.group,
                LifecycleHookName=hook.name,
                LifecycleActionToken=hook.token,
                LifecycleActionResult="CONTINUE",
            )

    def extend(self, hook: LifecycleHook) -> None:
        """Start the hook's timeout anew."""
        with _still_waiting():
            self._client.record_lifecycle_action_heartbeat(
                AutoScalingGroupName=hook.group,
                LifecycleHookName=hook.name,
                LifecycleActionToken=hook.token,
            )


@contextmanager
def _still_waiting() -> Iterator[None]:
    """Take "no active lifecycle action" for success: the hook was completed before, or timed out."""
    try:
        with aws_errors():
            yield
    except NeedsOperator as error:
        if "No active Lifecycle Action" not in str(error):
            raise
