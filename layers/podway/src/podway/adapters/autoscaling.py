"""Auto Scaling's lifecycle hooks."""

from __future__ import annotations

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
        """Let the group go on. "No active Lifecycle Action found" comes as a ValidationError: done before."""
        try:
            with aws_errors():
                self._client.complete_lifecycle_action(
                    AutoScalingGroupName=hook.group,
                    LifecycleHookName=hook.name,
                    LifecycleActionToken=hook.token,
                    LifecycleActionResult="CONTINUE",
                )
        except NeedsOperator as error:
            if "No active Lifecycle Action" not in str(error):
                raise
