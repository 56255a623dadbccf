"""What a soak job is: many seeded cases of one thing that must hold, too long for ``make test``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Case = Mapping[str, object]
"""What one seed gave, as JSON values; a ``"broken"`` that is not empty says what did not hold."""


@dataclass(frozen=True)
class Job:
    """``one`` plays the case of a seed (0 … cases - 1); ``report`` tells about all of them in Markdown.

    ``holds`` looks at all cases together, and says what is wrong with them; nothing if all is well.
    """

    name: str
    about: str
    cases: int
    one: Callable[[int], Case]
    report: Callable[[Sequence[Case]], Sequence[str]]
    holds: Callable[[Sequence[Case]], str] = lambda _: ""


def is_broken(case: Case) -> bool:
    """Whether something that must hold did not."""
    return bool(case.get("broken"))
