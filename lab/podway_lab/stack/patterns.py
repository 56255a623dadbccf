"""Event patterns, which EventBridge's rules and Lambda's filters share.

Delivery and the pollers match events by them. moto knows the comparisons. Arrays of objects are taken apart
here: a pattern holds if one of their elements fits ("arrays in event patterns", EventBridge user guide).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from moto.events.models import EventPattern


class Pattern:
    """What an event must look like; an empty one lets everything through."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._pattern: Any = EventPattern(None, dict(raw))  # moto types the event more narrowly than it is

    def matches(self, event: Mapping[str, Any]) -> bool:
        return any(self._pattern.matches_event(one) for one in _without_arrays_of_objects(event, self._raw))


def _without_arrays_of_objects(value: Any, pattern: Any) -> Iterator[Any]:
    """*value* with one element in the place of each array of objects into which *pattern* looks."""
    if not isinstance(pattern, Mapping):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _without_arrays_of_objects(element, pattern)
    elif isinstance(value, Mapping):
        names = [name for name in pattern if name in value]
        each = (list(_without_arrays_of_objects(value[name], pattern[name])) for name in names)
        for chosen in product(*each):
            yield {**value, **dict(zip(names, chosen, strict=True))}
    else:
        yield value
