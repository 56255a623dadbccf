"""What probes prove, what they do not, and how long it takes to be believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway_agent.probing.suspicion import (
    HITS,
    MISSES,
    ProbeFinding,
    Round,
    Standing,
    doubts_itself,
    find,
    judge,
)

ANSWERS = st.sampled_from([True, False, None])
ROUNDS = st.builds(Round, ANSWERS, ANSWERS, ANSWERS)
FINDINGS = st.lists(st.sampled_from(list(ProbeFinding)), max_size=60)


def after(findings: list[ProbeFinding], standing: Standing | None = None) -> Standing:
    now = standing or Standing()
    for finding in findings:
        now = judge(now, finding)
    return now


@pytest.mark.parametrize(
    ("relayed", "third", "itself", "finding"),
    [
        (True, True, True, ProbeFinding.RELAYS),
        (True, False, False, ProbeFinding.RELAYS),
        (False, True, True, ProbeFinding.IDLE),
        (False, True, False, ProbeFinding.DEAD),
        (False, True, None, ProbeFinding.DEAD),
        (False, False, True, ProbeFinding.UNKNOWN),
        (False, False, False, ProbeFinding.UNKNOWN),
        (False, None, True, ProbeFinding.UNKNOWN),
        (None, True, True, ProbeFinding.UNKNOWN),
    ],
)
def test_what_a_round_proves(
    relayed: bool | None, third: bool | None, itself: bool | None, finding: ProbeFinding
) -> None:
    assert find(Round(relayed, third, itself), doubtful=False) is finding


@given(ROUNDS)
def test_only_a_lost_probe_whose_twin_came_through_accuses(said: Round) -> None:
    accuses = find(said, doubtful=False) in (ProbeFinding.DEAD, ProbeFinding.IDLE)

    assert accuses == (said.relayed is False and said.third is True)


@given(ROUNDS)
def test_a_prober_in_doubt_accuses_nobody_and_still_believes_what_came_through(said: Round) -> None:
    finding = find(said, doubtful=True)

    assert finding is (ProbeFinding.RELAYS if said.relayed else ProbeFinding.UNKNOWN)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_a_prober_doubts_itself_when_most_do_not_answer(reached: list[bool]) -> None:
    assert doubts_itself(reached) == (reached.count(False) > reached.count(True))


def test_who_has_asked_nobody_has_no_doubts() -> None:
    assert not doubts_itself([])


@given(FINDINGS)
def test_nobody_is_suspected_before_three_misses_in_a_row(findings: list[ProbeFinding]) -> None:
    known = [finding for finding in findings if finding is not ProbeFinding.UNKNOWN]
    runs = "".join("." if finding is ProbeFinding.RELAYS else "x" for finding in known)

    standing = after(findings)

    if "x" * MISSES not in runs:
        assert standing.suspected is None
    if runs.endswith("x" * MISSES):
        assert standing.suspected is known[-1]


@given(FINDINGS)
def test_a_suspicion_is_taken_back_after_a_run_of_hits_and_not_before(findings: list[ProbeFinding]) -> None:
    suspect = after([ProbeFinding.DEAD] * MISSES)
    known = [finding for finding in findings if finding is not ProbeFinding.UNKNOWN]
    hits = next(
        (count for count, one in enumerate(reversed(known)) if one is not ProbeFinding.RELAYS), len(known)
    )
    longest = max(map(len, "".join("." if f is ProbeFinding.RELAYS else "x" for f in known).split("x")))

    standing = after(findings, suspect)

    if longest < HITS:
        assert standing.suspected is not None
    if hits >= HITS:
        assert standing.suspected is None


@given(FINDINGS, st.integers(0, 60))
def test_what_is_not_known_changes_no_mind(findings: list[ProbeFinding], where: int) -> None:
    with_gap = [*findings[:where], ProbeFinding.UNKNOWN, *findings[where:]]
    plain, gapped = after(findings), after(with_gap)

    assert (plain.misses, plain.hits, plain.suspected) == (gapped.misses, gapped.hits, gapped.suspected)


def test_whom_the_last_process_suspected_is_forgiven_only_after_the_same_run() -> None:
    inherited = Standing(MISSES, suspected=ProbeFinding.UNKNOWN)

    assert after([ProbeFinding.RELAYS] * (HITS - 1), inherited).suspected is ProbeFinding.UNKNOWN
    assert after([ProbeFinding.RELAYS] * HITS, inherited).suspected is None
    assert after([ProbeFinding.IDLE], inherited).suspected is ProbeFinding.IDLE
