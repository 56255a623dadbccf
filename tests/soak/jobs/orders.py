"""Orders of change: against every order there is in small, and at home against the differing entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from tests.oracle.changes import changed_at_home
from tests.oracle.orders import compared
from tests.soak.job import Case, Job

SMALL_A_CASE = 20
"""Small cases per seed of the job."""


def one(seed: int) -> Case:
    """Twenty small changes where subnets interleave, and two of a cluster at home: stable, and fresh."""
    orders = [compared(10_000 + SMALL_A_CASE * seed + number) for number in range(SMALL_A_CASE)]
    home = [changed_at_home(seed, fresh=fresh) for fresh in (False, True)]
    return {
        "broken": [f"{o.wrong}" for o in orders if o.wrong]
        + [change.wrong for change in home if change.wrong],
        "without": sum(order.least is None for order in orders),
        "temporaries": sum(order.steps > order.differing for order in orders if order.least is not None),
        "hitless": sum(order.least is not None for order in orders),
        "home": [change.steps for change in home],
    }


def report(cases: Sequence[Case]) -> list[str]:
    """How many of what."""

    def total(name: str) -> int:
        return sum(cast("int", case[name]) for case in cases)

    steps = [cast("list[int]", case["home"]) for case in cases]
    stable, fresh = (sum(some) for some in zip(*steps, strict=True))
    return [
        f"Interleaved subnets, four places: {total('hitless'):,} changes have a hitless order, and the steps",
        f"are as few as the shortest's ({total('temporaries'):,} of them need temporary routes);",
        f"{total('without'):,} have none, as an exhaustive search agrees.",
        "",
        f"Home mode, 20 to 160 nodes, one spare slot: {2 * len(steps):,} changes between tables of the",
        "planner, each hitless and as short as the number of differing entries",
        f"({stable:,} steps when planned stably, {fresh:,} when planned afresh).",
    ]


JOB = Job("orders", "Changes are hitless and short", 1_000, one, report)
