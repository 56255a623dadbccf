"""Fresh plans against every set of routes that a small table could hold: ten kinds of cluster per seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

from tests.oracle.compare import fresh_difference, large_gap
from tests.oracle.instances import KINDS
from tests.soak.job import Case, Job

EXACT = tuple(kind for kind in KINDS if kind != "unequal")
"""With unequal capacities a strong node may relay parts it owns nothing of: makespan, which is NP-hard."""

LARGE_EVERY = 10
"""Seeds between those on which the methods for large tables are compared too: it takes as long again."""


def one(seed: int) -> Case:
    """The differences, and how near the methods for large tables come."""
    found = [text for kind in EXACT if (text := fresh_difference(kind, seed))]
    gaps = {} if seed % LARGE_EVERY else {kind: large_gap(kind, seed) for kind in KINDS}
    unequal = fresh_difference("unequal", seed)
    return {"instances": len(EXACT), "broken": found, "unequal": unequal, "large": gaps}


def report(cases: Sequence[Case]) -> list[str]:
    """By kind: how often the methods for large tables find the optimum too."""
    count = sum(cast("int", case["instances"]) for case in cases)
    off = sum(bool(case["unequal"]) for case in cases)
    gaps: dict[str, Counter[str]] = {}
    for case in cases:
        for kind, gap in cast("dict[str, str]", case["large"]).items():
            gaps.setdefault(kind, Counter())[gap] += 1
    names = sorted({name for several in gaps.values() for name in several}, key=lambda n: (n != "equal", n))
    lines = [
        f"{count:,} instances equal the oracle in (weight left bare, busiest next hop, direct weight).",
        f"With unequal capacities, where that is not promised, {off:,} of {len(cases):,} more differ.",
        "",
        "These tables are small enough for the exhaustive search. What the methods for large tables make",
        f"of the same instances (every {LARGE_EVERY}th seed), next to the oracle in home mode where that",
        "covers everything:",
        "",
        "| kind | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind, several in gaps.items():
        lines.append(f"| {kind} | " + " | ".join(f"{several[name]:,}" for name in names) + " |")
    return lines


JOB = Job("optimum", "Fresh plans are optimal", 2_250, one, report)
