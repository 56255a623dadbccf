"""Half an hour of healthy load with every CPU busy: nobody is convicted, and no route moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.lab.trials import RATE, play_apart
from tests.soak.job import Case, Job

SECONDS = 600
"""Of a case, each in a lab of its own."""


def one(_: int) -> Case:
    said, wrong = play_apart("--healthy", str(SECONDS))
    found = next((trial for trial in said if trial["trial"] == "healthy"), {})
    if found.get("moved") or found.get("writes"):
        wrong = f"{found['writes']} writes to route tables; {wrong}"
    return {**found, "broken": wrong}


def report(cases: Sequence[Case]) -> Iterator[str]:
    yield f"Two flows of {RATE:,} packets a second through a forwarder that three nodes watch; all CPUs spin."
    yield ""
    yield "| seconds | probes relayed | lost | suspicions | writes to route tables | packets lost |"
    yield "|---|---|---|---|---|---|"
    for case in cases:
        yield "| {seconds} | {rounds} | {misses} | {suspicions} | {writes} | {lost} |".format_map(dict(case))
    yield ""
    yield "A suspicion is one watcher's; it takes two to move a route."


JOB = Job(name="healthy", about="Healthy load", cases=3, one=one, report=lambda cases: list(report(cases)))
