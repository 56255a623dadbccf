"""Every kind of fault that the simulation injects. A fault that does not fire proves nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tests.simulation.absence import ABSENCES
from tests.simulation.lives import LIVES, SETTINGS
from tests.simulation.script import DEEDS

FAULTS: Mapping[str, str] = {
    "event lost": "an event never arrives",
    "event doubled": "an event arrives twice",
    "event late": "an event arrives minutes late",
    "event out of order": "an event arrives after a younger one",
    "EC2: throttled": "EC2 refuses a call for being one too many",
    "EC2: broken": "EC2 answers with a 500",
    "EC2: unreachable": "a call does not reach EC2",
    "EC2: lost reply": "EC2 does what it is asked to, and its answer never arrives",
    "EC2: stale": "EC2 shows how things were seconds ago",
    "EC2: thinner": "EC2 leaves rows out of an answer",
    "EC2: unheard of": "EC2 says words that nobody knew",
    "EC2: refused": "EC2 refuses a call with a code that nobody knew",
    "store refuses": "the store refuses a call",
    "store's reply lost": "the store does what it is asked to, and its answer never arrives",
    "function killed": "a function is killed between two calls",
    "function failed and was invoked again": "a function gives up, and Lambda invokes it again",
    "two functions at once": "functions run at the same time",
    "two reconciles at once": "reconcile runs twice at the same time",
    "a node flaps": "a node fails and recovers again and again",
    "an alarm that is on is deleted": "no OK ever comes",
    "a lease lies ahead": "its writer's clock is ahead, and it was killed",
    "peers suspect": "peers find that a node relays nothing",
    "hook extended": "a node may not die yet, because it relays still",
    "space was given back": "a subnet gives back space that is empty",
    "space was taken back": "a subnet takes back what it gave back, before it has rested",
    "space had left": "nothing leads any more to what was given back: it is anybody's",
    **{name: name for name in (*DEEDS, *ABSENCES, *LIVES, *SETTINGS)},
}
"""By the name under which it is counted: what happens."""


def missing(fired: Counter[str]) -> list[str]:
    """The kinds that have not fired."""
    return sorted(name for name in FAULTS if not fired[name])
