"""Auto Scaling's lifecycle actions: what a group waits for, until somebody completes it.

The server answers CompleteLifecycleAction and RecordLifecycleActionHeartbeat by it; scenarios begin
actions. moto stores hooks and answers CompleteLifecycleAction with a 500; the lab has no groups.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podway_lab.region.errors import refusal


@dataclass(slots=True)
class Action:
    """One instance that a group keeps waiting, under one hook."""

    group: str
    hook: str
    token: str
    instance: str
    then: Callable[[str], None]
    """Called with the result when the action is complete."""
    heartbeats: int = 0


@dataclass
class LifecycleActions:
    """The actions that are active; each can be completed once."""

    _active: dict[str, Action] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, action: Action) -> None:
        """Let the group wait from now on."""
        with self._lock:
            self._active[action.token] = action

    def complete(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """CompleteLifecycleAction. Raises ClientError as Auto Scaling does for an action that is over."""
        with self._lock:
            action = self._found("CompleteLifecycleAction", given)
            del self._active[action.token]
        action.then(given["LifecycleActionResult"])
        return {}

    def extend(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """RecordLifecycleActionHeartbeat. Raises ClientError likewise."""
        with self._lock:
            self._found("RecordLifecycleActionHeartbeat", given).heartbeats += 1
        return {}

    def _found(self, operation: str, given: Mapping[str, Any]) -> Action:
        action = self._active.get(given.get("LifecycleActionToken", ""))
        wanted = given["AutoScalingGroupName"], given["LifecycleHookName"]
        if action is None or (action.group, action.hook) != wanted:
            raise refusal(
                operation, "ValidationError", "No active Lifecycle Action found with the given token"
            )
        return action
