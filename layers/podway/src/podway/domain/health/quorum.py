"""Votes of a node's watchers: one each, and evidence only when enough of them agree.

Failover calls ``add_vote`` and ``withdraw_vote`` when an agent's report changes, ``reassess`` calls
``recount`` once a run. A vote is evidence too weak to count by itself (``Severity.SUSPICION``), so it is
kept, outdated and withdrawn like any other. The quorum is evidence of its own, with the source ``PEERS``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse, withdraw
from podway.domain.health.watchers import quorum

PEERS = "peers"
"""Source of the evidence that a quorum of watchers gives."""
VOTE = "peer:"
"""What the source of one watcher's vote begins with; its node id follows."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What a watcher's own item says of a node, and when it was written."""

    at: datetime
    suspects: bool


def add_vote(
    verdict: Verdict, peer: str, *, at: datetime, watchers: Collection[str], now: datetime
) -> Verdict:
    """The verdict after *peer* said at *at* that it suspects the node.

    A node that was not told to watch has no vote.
    """
    if peer not in watchers:
        return verdict
    heard = accuse(verdict, Evidence(VOTE + peer, Severity.SUSPICION, at))
    return _count(heard, watchers, now=now, hold_down=timedelta(0))


def withdraw_vote(
    verdict: Verdict,
    peer: str,
    *,
    as_of: datetime,
    watchers: Collection[str],
    now: datetime,
    hold_down: timedelta,
) -> Verdict:
    """The verdict after *peer* withdrew its vote. Below the quorum the node is held down, then free."""
    left = withdraw(verdict, VOTE + peer, as_of=as_of, now=now, hold_down=hold_down)
    return _count(left, watchers, now=now, hold_down=hold_down)


def recount(
    verdict: Verdict,
    votes: Mapping[str, Vote],
    *,
    watchers: Collection[str],
    now: datetime,
    hold_down: timedelta,
) -> Verdict:
    """The verdict by what the watchers' items say now: an event of the stream may have got lost.

    Votes are dropped of those who watch no more, and of the silent, who have none in *votes*.
    """
    after = verdict
    for peer in votes_against(verdict):
        word = votes.get(peer)
        if word is None or peer not in watchers:
            as_of = verdict.evidence[VOTE + peer].at
            after = withdraw(after, VOTE + peer, as_of=as_of, now=now, hold_down=hold_down)
        elif not word.suspects:
            after = withdraw(after, VOTE + peer, as_of=word.at, now=now, hold_down=hold_down)
    for peer in sorted(watchers):
        said = votes.get(peer)
        if said is not None and said.suspects and peer not in votes_against(after):
            after = accuse(after, Evidence(VOTE + peer, Severity.SUSPICION, said.at))
    return _count(after, watchers, now=now, hold_down=hold_down)


def votes_against(verdict: Verdict) -> tuple[str, ...]:
    """Who suspects the node."""
    return tuple(sorted(one.removeprefix(VOTE) for one in verdict.evidence if one.startswith(VOTE)))


def is_watched(verdict: Verdict) -> bool:
    """Whether there are votes against the node: then it stays watched, though it relays no more."""
    return PEERS in verdict.evidence or bool(votes_against(verdict))


def _count(verdict: Verdict, watchers: Collection[str], *, now: datetime, hold_down: timedelta) -> Verdict:
    needed, agreeing = quorum(watchers), [one for one in votes_against(verdict) if one in watchers]
    convicted = needed is not None and len(agreeing) >= needed
    if convicted and PEERS not in verdict.evidence:
        return accuse(verdict, Evidence(PEERS, Severity.INDIRECT, now, ", ".join(agreeing)))
    if not convicted and PEERS in verdict.evidence:
        return withdraw(verdict, PEERS, as_of=now, now=now, hold_down=hold_down)
    return verdict
