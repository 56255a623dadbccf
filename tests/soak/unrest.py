"""What the reports of cases played under traffic (tests/lab/unrest.py, tests/lab/kills.py) have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.lab.unrest import RATE
from tests.soak.job import Case


def made(cases: Sequence[Case]) -> list[Any]:
    """Everything that was done in all cases."""
    return [each for case in cases for each in case["made"]]  # type: ignore[attr-defined]  # JSON


def under_traffic(what: str, cases: Sequence[Case]) -> str:
    """The report's first line: how many, of *what*, and the packets that it cost."""
    sent, lost = (sum(int(str(case[name])) for case in cases) for name in ("sent", "lost"))
    return f"{len(made(cases))} {what}; {sent:,} packets in six flows of {RATE:,} a second, **{lost} lost**."
