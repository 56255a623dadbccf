"""Fifty random transitions in the lab, under 1 kHz flows between all zones: no packet is lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from tests.lab.unrest import play_apart
from tests.soak.job import Case, Job
from tests.soak.unrest import made, under_traffic

EACH = 10
"""Transitions of a case, each case in a new lab."""


def one(seed: int) -> Case:
    return play_apart(seed, EACH)


def report(cases: Sequence[Case]) -> Iterator[str]:
    found = made(cases)
    yield under_traffic("transitions", cases)
    yield ""
    yield "| transition | times | writes to route tables | seconds, mean | packets lost |"
    yield "|---|---|---|---|---|"
    kinds: dict[str, list[Any]] = defaultdict(list)
    for each in found:
        kinds[each["kind"]].append(each)
    for kind, many in sorted(kinds.items()):
        seconds = sum(each["ended"] - each["began"] for each in many) / len(many)
        writes, gone = (sum(each[name] for each in many) for name in ("writes", "lost"))
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
