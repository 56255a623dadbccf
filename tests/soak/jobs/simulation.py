"""Simulations of the control plane under faults, one seed a case; and the faults that fired in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.simulation.faults import FAULTS
from tests.simulation.play import play
from tests.soak.job import Case, Job


def _one(seed: int) -> Case:
    story = play(seed)
    told: dict[str, object] = {"fired": dict(story.fired), "checked": dict(story.checked)}
    return told | ({"broken": story.broken.splitlines()[-1]} if story.broken else {})


def _report(cases: Sequence[Case]) -> list[str]:
    fired, checked = _sum(cases, "fired"), _sum(cases, "checked")
    return [
        "Each case is a random cluster and story on a simulated clock, against the strict EC2 model; the",
        "invariants are checked after every write, and when the faults stop all has to come to rest.",
        f"`python -m tests.simulation 1 SEED` replays a case. All kinds fired: {not _silent(fired)}.",
        "",
        "| checked | times |",
        "|---|---|",
        *(f"| {name} | {count:,} |" for name, count in sorted(checked.items())),
        "",
        "| fault or deed | what happens | times |",
        "|---|---|---|",
        *(f"| {name} | {what} | {fired[name]:,} |" for name, what in FAULTS.items()),
    ]


def _sum(cases: Sequence[Case], what: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for case in cases:
        counted = case[what]
        assert isinstance(counted, dict)
        total.update(counted)
    return total


def _silent(fired: Counter[str]) -> list[str]:
    return [name for name in FAULTS if not fired[name]]


JOB = Job(
    name="simulation",
    about="The control plane under every fault",
    cases=2000,
    one=_one,
    report=_report,
)
