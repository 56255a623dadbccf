"""Auto Scaling's lifecycle hooks."""

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
        """A heartbeat: the hook's timeout begins anew."""
        with _still_waiting():
            self._client.record_lifecycle_action_heartbeat(
                AutoScalingGroupName=hook.group,
                LifecycleHookName=hook.name,
                LifecycleActionToken=hook.token,
            )


@contextmanager
def _still_waiting() -> Iterator[None]:
    """An answer that there is no active lifecycle action means that it was done before, or timed out."""
    try:
        with aws_errors():
            yield
    except NeedsOperator as error:
        if "No active Lifecycle Action" not in str(error):
            raise
