"""What probes prove, what they do not, and how long it takes to be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway_agent.probing.suspicion import HITS, MISSES, Finding, Round, Standing, doubts_itself, find, judge

ANSWERS = st.sampled_from([True, False, None])
ROUNDS = st.builds(Round, ANSWERS, ANSWERS, ANSWERS)
FINDINGS = st.lists(st.sampled_from(list(Finding)), max_size=60)


def after(findings: list[Finding], standing: Standing | None = None) -> Standing:
    now = standing or Standing()
    for finding in findings:
        now = judge(now, finding)
    return now


@pytest.mark.parametrize(
    ("relayed", "third", "itself", "finding"),
    [
        (True, True, True, Finding.RELAYS),
        (True, False, False, Finding.RELAYS),
        (False, True, True, Finding.IDLE),
        (False, True, False, Finding.DEAD),
        (False, True, None, Finding.DEAD),
        (False, False, True, Finding.UNKNOWN),
        (False, False, False, Finding.UNKNOWN),
        (False, None, True, Finding.UNKNOWN),
        (None, True, True, Finding.UNKNOWN),
    ],
)
def test_what_a_round_proves(
    relayed: bool | None, third: bool | None, itself: bool | None, finding: Finding
) -> None:
    assert find(Round(relayed, third, itself), doubtful=False) is finding


@given(ROUNDS)
def test_only_a_lost_probe_whose_twin_came_through_accuses(said: Round) -> None:
    accuses = find(said, doubtful=False) in (Finding.DEAD, Finding.IDLE)

    assert accuses == (said.relayed is False and said.third is True)


@given(ROUNDS)
def test_a_prober_in_doubt_accuses_nobody_and_still_believes_what_came_through(said: Round) -> None:
    finding = find(said, doubtful=True)

    assert finding is (Finding.RELAYS if said.relayed else Finding.UNKNOWN)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_prober_doubts_itself_when_most_do_not_answer(reached: list[bool]) -> None:
    assert doubts_itself(reached) == (reached.count(False) > reached.count(True))


def test_who_has_asked_nobody_has_no_doubts() -> None:
    assert not doubts_itself([])


@given(FINDINGS)
def test_nobody_is_suspected_before_three_misses_in_a_row(findings: list[Finding]) -> None:
    known = [finding for finding in findings if finding is not Finding.UNKNOWN]
    runs = "".join("." if finding is Finding.RELAYS else "x" for finding in known)

    standing = after(findings)

    if "x" * MISSES not in runs:
        assert standing.suspected is None
    if runs.endswith("x" * MISSES):
        assert standing.suspected is known[-1]


@given(FINDINGS)
def test_a_suspicion_is_taken_back_after_a_run_of_hits_and_not_before(findings: list[Finding]) -> None:
    suspect = after([Finding.DEAD] * MISSES)
    known = [finding for finding in findings if finding is not Finding.UNKNOWN]
    hits = next((count for count, one in enumerate(reversed(known)) if one is not Finding.RELAYS), len(known))
    longest = max(map(len, "".join("." if f is Finding.RELAYS else "x" for f in known).split("x")))

    standing = after(findings, suspect)

    if longest < HITS:
        assert standing.suspected is not None
    if hits >= HITS:
        assert standing.suspected is None


@given(FINDINGS, st.integers(0, 60))
def test_what_is_not_known_changes_no_mind(findings: list[Finding], where: int) -> None:
    with_gap = [*findings[:where], Finding.UNKNOWN, *findings[where:]]
    plain, gapped = after(findings), after(with_gap)

    assert (plain.misses, plain.hits, plain.suspected) == (gapped.misses, gapped.hits, gapped.suspected)


def test_whom_the_last_process_suspected_is_forgiven_only_after_the_same_run() -> None:
    inherited = Standing(MISSES, suspected=Finding.UNKNOWN)

    assert after([Finding.RELAYS] * (HITS - 1), inherited).suspected is Finding.UNKNOWN
    assert after([Finding.RELAYS] * HITS, inherited).suspected is None
    assert after([Finding.IDLE], inherited).suspected is Finding.IDLE
