"""Forwarders that fail in every way, many times: how long until traffic flows again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from tests.lab.trials import FAULTS, RATE, play_apart
from tests.soak.job import Case, Job

MOST_MS = 1500
"""That the median of a fault's outages may be."""


def one(seed: int) -> Case:
    """Every fault once, in a lab of its own: with more, hold-downs would grow long."""
    said, wrong = play_apart("--seed", str(seed))
    return {"failed": [trial for trial in said if trial["trial"] in FAULTS], "broken": wrong}


def _outages(cases: Sequence[Case], fault: str) -> list[dict[str, Any]]:
    trials: list[Any] = [trial for case in cases for trial in case["failed"]]  # type: ignore[attr-defined]  # JSON
    return [trial for trial in trials if trial["trial"] == fault]


def holds(cases: Sequence[Case]) -> str:
    """The medians, all cases together."""
    slow = [
        fault
        for fault in FAULTS
        if (found := _outages(cases, fault)) and median(one["outage_ms"] for one in found) > MOST_MS
    ]
    return f"median above {MOST_MS} ms: {', '.join(slow)}" if slow else ""


def report(cases: Sequence[Case]) -> Iterator[str]:
    yield (
        f"From a forwarder's fault until UDP at {RATE:,} packets a second flows again through another one:"
        " real agents probe, their words go by the table's stream to the functions, which move the routes."
    )
    yield ""
    yield "| fault | runs | median ms | best | worst | route moved, median ms | found |"
    yield "|---|---|---|---|---|---|---|"
    for fault in FAULTS:
        found = _outages(cases, fault)
        outages = sorted(one["outage_ms"] for one in found)
        if outages:
            moved = median(one["moved_ms"] for one in found)
            finding = ", ".join(sorted({finding for one in found for finding in one["findings"]}))
            yield (
                f"| {fault} | {len(outages)} | **{median(outages):.0f}** | {outages[0]} | {outages[-1]}"
                f" | {moved:.0f} | {finding} |"
            )
    yield ""
    yield (
        f"A median of {MOST_MS:,} ms is what is allowed. 600 to 800 ms of it are three probes 200 ms apart"
        " and the wait for the last answer. The stream is looked at four times a second, as Lambda does."
        " Calls to EC2 take milliseconds in the lab, some 150 on AWS; these are no figures of AWS's. In"
        " `forwarding off` the agent is frozen, too, or it would mend the fault at once."
    )


JOB = Job(
    name="probing",
    about="Failover by probing",
    cases=20,
    one=one,
    report=lambda cases: list(report(cases)),
    holds=holds,
)
