"""One vote each, only from assigned watchers, and evidence only at a quorum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from podway.domain.health.quorum import (
    PEERS,
    Vote,
    add_vote,
    is_watched,
    recount,
    votes_against,
    withdraw_vote,
)
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse, health, is_accused
from podway.domain.model import Health

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOLD_DOWN = timedelta(seconds=60)
WATCHERS = ("i-1", "i-2", "i-3")
CLEAN = Verdict("i-0", "subnet-a")
recounted = partial(recount, watchers=WATCHERS, now=NOW, hold_down=HOLD_DOWN)
said = partial(add_vote, at=NOW, watchers=WATCHERS, now=NOW)
unsaid = partial(withdraw_vote, watchers=WATCHERS, now=NOW, hold_down=HOLD_DOWN)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_one_voice_is_kept_and_counts_for_nothing() -> None:
    alone = said(CLEAN, "i-1")

    assert votes_against(alone) == ("i-1",)
    assert is_watched(alone)
    assert not is_accused(alone)
    assert health(alone, now=NOW) is Health.HEALTHY
    assert alone.flaps == 0


def test_the_same_peer_has_one_voice_however_often_it_speaks() -> None:
    often = said(add_vote(said(CLEAN, "i-1"), "i-1", at=later(5), watchers=WATCHERS, now=later(5)), "i-1")

    assert votes_against(often) == ("i-1",)
    assert PEERS not in often.evidence


def test_a_quorum_makes_the_node_suspect_and_names_who_agreed() -> None:
    both = said(said(CLEAN, "i-1"), "i-3")

    assert both.evidence[PEERS] == Evidence(PEERS, Severity.INDIRECT, NOW, "i-1, i-3")
    assert health(both, now=NOW) is Health.SUSPECT
    assert both.flaps == 1


@pytest.mark.parametrize("stranger", ["i-9", "i-0", ""])
def test_who_was_not_told_to_watch_is_not_heard(stranger: str) -> None:
    assert said(said(CLEAN, "i-1"), stranger) == said(CLEAN, "i-1")


def test_two_nodes_watch_in_vain_where_only_one_may() -> None:
    alone = add_vote(CLEAN, "i-1", at=NOW, watchers=("i-1",), now=NOW)

    assert PEERS not in alone.evidence


def test_when_the_quorum_is_lost_the_hold_down_begins_and_the_last_voice_stays() -> None:
    both = said(said(CLEAN, "i-1"), "i-2")

    left = unsaid(both, "i-1", as_of=later(1))

    assert votes_against(left) == ("i-2",)
    assert PEERS not in left.evidence
    assert health(left, now=NOW) is Health.SUSPECT, "held down"
    assert health(left, now=NOW + HOLD_DOWN) is Health.HEALTHY


def test_a_late_suspicion_does_not_undo_what_was_taken_back_after_it() -> None:
    taken_back = unsaid(said(CLEAN, "i-1"), "i-1", as_of=later(10))

    again = add_vote(taken_back, "i-1", at=later(5), watchers=WATCHERS, now=later(11))

    assert votes_against(again) == ()


def test_items_repair_what_the_stream_lost() -> None:
    votes = {"i-1": Vote(later(1), suspects=True), "i-2": Vote(later(1), suspects=True)}

    lost_two = recounted(CLEAN, votes)
    lost_one_more = recounted(lost_two, votes | {"i-2": Vote(later(9), suspects=False)})

    assert PEERS in lost_two.evidence
    assert votes_against(lost_one_more) == ("i-1",)
    assert PEERS not in lost_one_more.evidence


def test_an_item_older_than_the_suspicion_takes_nothing_back() -> None:
    vote = add_vote(CLEAN, "i-1", at=later(10), watchers=WATCHERS, now=later(10))

    assert recounted(vote, {"i-1": Vote(later(5), suspects=False)}) == vote


@pytest.mark.parametrize("watchers", [("i-2", "i-3"), ()], ids=["others watch", "nobody watches"])
def test_votes_of_former_watchers_and_of_the_silent_are_dropped(watchers: tuple[str, ...]) -> None:
    vote = said(CLEAN, "i-1")
    votes = {"i-1": Vote(later(1), suspects=True)}

    assert votes_against(recount(vote, votes, watchers=watchers, now=NOW, hold_down=HOLD_DOWN)) == ()
    assert votes_against(recount(vote, {}, watchers=WATCHERS, now=NOW, hold_down=HOLD_DOWN)) == ()


def test_recounting_what_is_settled_changes_nothing() -> None:
    votes = {one: Vote(NOW, suspects=True) for one in ("i-1", "i-2")}
    settled = recounted(CLEAN, votes)

    assert recount(settled, votes, watchers=WATCHERS, now=later(60), hold_down=HOLD_DOWN) == settled


def test_other_evidence_is_left_alone() -> None:
    alarmed = accuse(CLEAN, Evidence("alarm:x", Severity.INDIRECT, NOW))

    assert "alarm:x" in recounted(said(alarmed, "i-1"), {}).evidence
