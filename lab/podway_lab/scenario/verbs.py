"""Collections of sentences, each with the function that carries it out.

Every file of sentences fills one of its own; the player is told of them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from podway_lab.scenario.stage import Stage

Verb: TypeAlias = Callable[[Stage, re.Match[str]], str]
"""Carries a sentence out; returns a detail for the report, or raises NotSo."""


class Verbs:
    """The sentences about one subject. Of two that fit, the one added first is meant."""

    def __init__(self) -> None:
        self._known: list[tuple[re.Pattern[str], Verb]] = []

    def add(self, pattern: str, verb: Verb) -> None:
        """Let sentences that fit *pattern* as a whole be carried out by *verb*."""
        self._known.append((re.compile(pattern), verb))

    def says(self, pattern: str) -> Callable[[Verb], Verb]:
        """`add` as a decorator."""

        def register(verb: Verb) -> Verb:
            self.add(pattern, verb)
            return verb

        return register

    def patterns(self) -> list[str]:
        """What is known here, in the order of adding."""
        return [pattern.pattern for pattern, _ in self._known]

    def understood(self, sentence: str) -> tuple[Verb, re.Match[str]] | None:
        """The verb that *sentence* means; None if it is not known here."""
        for pattern, verb in self._known:
            if match := pattern.fullmatch(sentence):
                return verb, match
        return None
