"""EC2's limits: 50 calls of a kind at once, then five a second; and a reserve for failovers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.domain.failover.pacing import BURST_CALLS, LONGEST_DEBT, RESERVED_CALLS, debit, kind_of, starts
from podway.domain.model import Create, Delete, Replace
from podway_lab.region.throttle import Buckets

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CIDR = Prefix.parse("100.64.0.0/16")


def test_every_kind_has_a_bucket_of_its_own() -> None:
    steps = (Create(CIDR, "eni-1"), Replace(CIDR, "eni-1", "eni-0"), Delete(CIDR, "eni-0"))

    assert [kind_of(step) for step in steps] == ["CreateRoute", "ReplaceRoute", "DeleteRoute"]


def test_a_burst_goes_at_once_and_the_rest_five_a_second() -> None:
    due = starts(debit(None, BURST_CALLS + 10, now=NOW), BURST_CALLS + 10)

    assert all(at <= NOW for at in due[:BURST_CALLS])
    assert [(at - NOW).total_seconds() for at in due[BURST_CALLS:]] == [
        round(0.2 * number, 3) for number in range(1, 11)
    ]


def test_reconcile_leaves_a_reserve() -> None:
    due = starts(debit(None, BURST_CALLS, now=NOW), BURST_CALLS, reserve=RESERVED_CALLS)

    assert sum(at <= NOW for at in due) == BURST_CALLS - RESERVED_CALLS


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5000)), min_size=1, max_size=20))
def test_whoever_keeps_to_it_is_never_refused_by_ec2(debits: list[tuple[int, int]]) -> None:
    """The lab's own model of EC2's limit is the judge.

    As long as the bucket owes less than LONGEST_DEBT: beyond that it is taken for a clock that is ahead.
    """
    clock, full_at, calls = NOW, None, []
    for count, pause in debits:
        clock += timedelta(milliseconds=pause)
        assume(full_at is None or full_at - clock <= LONGEST_DEBT)
        full_at = debit(full_at, count, now=clock)
        calls += [max(clock, at) for at in starts(full_at, count)]
    moment = [NOW]
    buckets = Buckets(lambda: moment[0])

    for number, at in enumerate(sorted(calls)):
        moment[0] = at + timedelta(microseconds=number)  # the model counts with floats
        assert buckets.take("ReplaceRoute", {})
