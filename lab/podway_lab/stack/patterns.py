"""Event patterns, which EventBridge's rules and Lambda's filters share.

Delivery and the pollers match events by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.events.models import EventPattern


class Pattern:
    """What an event must look like; an empty one lets everything through."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._pattern: Any = EventPattern(None, dict(raw))  # moto types the event more narrowly than it is

    def matches(self, event: Mapping[str, Any]) -> bool:
        return bool(self._pattern.matches_event(event))
