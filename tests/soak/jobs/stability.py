"""Stable plans against the fewest steps there are, after nodes failed, left and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tests.oracle.compare import stable_gap
from tests.soak.job import Case, Job

KINDS = ("mono", "interleaved", "home", "borrowed", "mixed", "foreign", "own", "weighted")
SHARE = 0.995
"""Of the histories whose plan must take the fewest steps there are."""


def one(seed: int) -> Case:
    """Steps above the fewest by kind of cluster; broken only where a plan is invalid."""
    gaps = {kind: stable_gap(kind, seed) for kind in KINDS}
    invalid = [f"{kind}: {gap}" for kind, gap in gaps.items() if isinstance(gap, str)]
    return {"broken": invalid, "above": {k: gap for k, gap in gaps.items() if isinstance(gap, int)}}


def fewest_often_enough(cases: Sequence[Case]) -> str:
    """What is wrong with all of them together."""
    gaps = [gap for case in cases for gap in cast("dict[str, int]", case.get("above", {})).values()]
    share = gaps.count(0) / len(gaps) if gaps else 1.0
    return "" if share >= SHARE else f"only {share:.2%} of the plans take the fewest steps"


def report(cases: Sequence[Case]) -> list[str]:
    """By kind: how many plans take the fewest steps, and how far the others are away."""
    lines = ["| kind | histories | fewest steps | one more | two or more |", "|---|---|---|---|---|"]
    every: list[int] = []
    for kind in KINDS:
        above = cast("list[dict[str, int]]", [case["above"] for case in cases])
        gaps = [some[kind] for some in above if kind in some]
        every += gaps
        more = sum(gap > 1 for gap in gaps)
        lines.append(f"| {kind} | {len(gaps):,} | {gaps.count(0):,} | {gaps.count(1):,} | {more:,} |")
    share = every.count(0) / len(every) if every else 1.0
    return [f"{share:.3%} of {len(every):,} plans take the fewest steps; none is invalid.", "", *lines]


JOB = Job("stability", "Stable plans take the fewest steps", 2_000, one, report, holds=fewest_often_enough)
