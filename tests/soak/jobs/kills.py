"""Agents killed at thirty random points and started again, under 1 kHz flows between all zones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.lab.kills import play_apart
from tests.soak.job import Case, Job
from tests.soak.unrest import made, under_traffic

EACH = 10
"""Kills of a case, each case in a new lab."""


def one(seed: int) -> Case:
    return play_apart(seed, EACH)


def report(cases: Sequence[Case]) -> Iterator[str]:
    found = made(cases)
    counts = Counter(each["kind"] for each in found)
    yield under_traffic("kills", cases)
    yield ""
    yield (
        f"Killed (SIGKILL) while nothing went on: {counts['idle']}; at a random moment of the first 1.2 s"
        f" after a start: {counts['starting']}; while a node came to its subnet or left it:"
        f" {counts['changing']}. Each time the agent was started again within 1.5 s and came to say that it"
        " holds the newest snapshot, and the kernel led to every sibling's block and nowhere else. Other"
        " people's routes (one inside the pod CIDR), rules, nftables table, and filters in both iptables were"
        " the same afterwards."
    )


JOB = Job(
    name="kills",
    about="Agents killed at random points",
    cases=3,
    one=one,
    report=lambda cases: list(report(cases)),
)
