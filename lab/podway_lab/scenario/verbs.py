"""The sentences that a player knows, each with the function that carries it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from podway_lab.scenario.player import Player


class NotSo(Exception):
    """What a sentence expects is not so; the message says what is instead."""


class NeedsPackets(Exception):
    """The sentence is about packets, and this lab has none."""


Verb: TypeAlias = "Callable[[Player, re.Match[str]], str]"
_VERBS: list[tuple[re.Pattern[str], Verb]] = []


def says(pattern: str) -> Callable[[Verb], Verb]:
    """Registers a verb; it returns a detail for the report, or raises NotSo."""

    def register(verb: Verb) -> Verb:
        _VERBS.append((re.compile(pattern), verb))
        return verb

    return register


def understood(sentence: str) -> tuple[Verb, re.Match[str]] | None:
    """The verb that a sentence means; None if nobody knows it."""
    for pattern, verb in _VERBS:
        if match := pattern.fullmatch(sentence):
            return verb, match
    return None
