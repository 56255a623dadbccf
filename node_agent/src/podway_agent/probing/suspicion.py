"""From probes to suspicions: which forwarder does not relay, or is the prober at fault? Pure. Prober asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

MISSES = 3
"""In a row, before a forwarder is suspected."""
HITS = 15
"""In a row (three seconds), before a suspicion is taken back: it must not flicker."""
CALM_ROUNDS = 10
"""Rounds (two seconds) that a prober has to be free of doubt before it finds anything. Its kernel asks a
silent neighbour again only after a second (arp(7), ``retrans_time_ms``): after an outage of its own one path
may be open well before another."""


class ProbeFinding(StrEnum):
    """What one round says of one forwarder."""

    RELAYS = "relays"
    DEAD = "dead"
    IDLE = "alive, relays nothing"
    UNKNOWN = "not known"
    """The third node is at fault, or the prober: nothing can be held against the forwarder."""


@dataclass(frozen=True)
class Round:
    """The answers to one round of probes; None for what was not, or could not be, sent."""

    relayed: bool | None
    third: bool | None
    """The third node, asked directly at the same time."""
    itself: bool | None = None
    """The forwarder, asked directly."""


@dataclass(frozen=True)
class Standing:
    """A forwarder as its watcher sees it."""

    misses: int = 0
    hits: int = 0
    last: ProbeFinding = ProbeFinding.UNKNOWN
    suspected: ProbeFinding | None = None
    """Why it is suspected: dead or idle (not known, if the process before this one suspected it)."""


def doubts_itself(reached: Collection[bool]) -> bool:
    """Whether the prober is at fault: most nodes that it asked directly did not answer last time.

    It may still be for `CALM_ROUNDS` rounds after that.
    """
    return 2 * sum(not answered for answered in reached) > len(reached)


def find(said: Round, *, doubtful: bool) -> ProbeFinding:
    """What *said* means for the forwarder.

    A relayed probe that was answered is proof, whatever else failed. One that was lost counts only if the
    direct probe to the same third node was answered: the two differ in nothing but the forwarder.
    """
    if said.relayed:
        return ProbeFinding.RELAYS
    if said.relayed is None or not said.third or doubtful:
        return ProbeFinding.UNKNOWN
    return ProbeFinding.IDLE if said.itself else ProbeFinding.DEAD


def judge(standing: Standing, finding: ProbeFinding) -> Standing:
    """The standing after one more round. A finding that is not known changes no count."""
    match finding:
        case ProbeFinding.UNKNOWN:
            return Standing(standing.misses, standing.hits, finding, standing.suspected)
        case ProbeFinding.RELAYS:
            hits = standing.hits + 1
            return Standing(0, hits, finding, None if hits >= HITS else standing.suspected)
        case _:
            misses = standing.misses + 1
            suspected = finding if misses >= MISSES else standing.suspected
            return Standing(misses, 0, finding, suspected)
