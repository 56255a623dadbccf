"""Fifty random transitions in the lab, under 1 kHz flows between all zones: no packet is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tests.lab.unrest import RATE, play_apart
from tests.soak.job import Case, Job

EACH = 10
"""Transitions of a case, each case in a new lab."""


def one(seed: int) -> Case:
    return play_apart(seed, EACH)


def report(cases: Sequence[Case]) -> Iterator[str]:
    found: list[Any] = [made for case in cases for made in case["made"]]  # type: ignore[attr-defined]  # JSON
    sent = sum(int(str(case["sent"])) for case in cases)
    lost = sum(int(str(case["lost"])) for case in cases)
    yield f"{len(found)} transitions; {sent:,} packets in six flows of {RATE:,} a second, **{lost} lost**."
    yield ""
    yield "| transition | times | writes to route tables | seconds, mean | packets lost |"
    yield "|---|---|---|---|---|"
    kinds: dict[str, list[Any]] = defaultdict(list)
    for made in found:
        kinds[made["kind"]].append(made)
    for kind, many in sorted(kinds.items()):
        seconds = sum(made["ended"] - made["began"] for made in many) / len(many)
        writes, gone = (sum(made[name] for made in many) for name in ("writes", "lost"))
        yield f"| {kind} | {len(many)} | {writes} | {seconds:.1f} | {gone} |"
    yield ""
    yield (
        "The lab: three zones, real agents, kernels and functions, EC2 as a model; a death is no transition"
        " of these (it costs what it takes to notice it). `split` and `merge`: the budget grew or shrank;"
        " `failover`: a forwarder's alarm, its routes replaced while it still relays; `leave`: drained, then"
        " terminated. Packets are numbered, and counted where they arrive."
    )


JOB = Job(
    name="hitless",
    about="Transitions under traffic",
    cases=5,
    one=one,
    report=lambda cases: list(report(cases)),
)
