"""50,000 random and mutated events through every handler, a thousand a case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from tests.soak.job import Case, Job
from tests.unit.app.cluster import Play
from tests.unit.functions.mutation import HANDLERS, Bench, events

EACH = 1000


def _one(seed: int) -> Case:
    play = Play(quota=5)
    play.settle()
    bench = Bench(play)
    before = bench.writes()
    with bench.in_place():
        faults = [fault for event in events(Random(seed), EACH) if (fault := bench.give(event))]
    if bench.writes() != before:
        faults.append(f"a stranger cost writes: {before} became {bench.writes()}")
    told: dict[str, object] = {"seen": dict(bench.seen)}
    return told | ({"broken": faults[0]} if faults else {})


def _report(cases: Sequence[Case]) -> list[str]:
    seen: Counter[str] = Counter()
    for case in cases:
        counted = case["seen"]
        assert isinstance(counted, dict)
        seen.update(counted)
    return [
        f"{len(cases) * EACH:,} events, each given to {', '.join(HANDLERS)}: documented ones, mutated",
        "ones and rubbish, about instances that are nobody's members. None of the handlers raised",
        "anything but an error that a retry mends, and nothing was written to EC2, the store, CloudWatch",
        "or Auto Scaling.",
        "",
        "| what became of them | times |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(seen.items())),
    ]


JOB = Job(
    name="events",
    about="Events that AWS never documented",
    cases=50,
    one=_one,
    report=_report,
)
