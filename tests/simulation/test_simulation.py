"""The control plane holds I1-I6 under every fault, and the checker notices when it is made worse.

Fresh seeds each time: whoever sees it fail replays the seed with ``make simulate SEEDS=1 FIRST=seed``.
"""

from __future__ import annotations

import os
from collections import Counter
from random import SystemRandom

import pytest

from tests import limits
from tests.simulation.faults import missing
from tests.simulation.mutants import ABSENT, MUTANTS, hunt
from tests.simulation.play import OLD, play, shorten

pytestmark = limits.long

SEEDS = int(os.environ.get("PODWAY_SEEDS", "16"))
ALL_FAULTS = (206, 228, 244, 368, 385, 401, 542, 701, 705, 799, 814)
"""Stories in which, when this was written, every fault fired: they save time, and no more."""
AT_MOST = 400
"""Fresh seeds after which every fault must have fired. Rare ones are in one story of fifty."""
WITHIN = 200
"""Seeds within which a worse control plane must be caught."""
KNOWN = {
    "failover without compare-and-set": 14,
    "reconcile without epoch check": 102,
    "quarantine off": 5,
    "failover never freezes": 6,
    "reconcile never freezes": 85,
    "own tables unread": 23,
    "the first NotFound is an end": 248,
}
"""Where each was caught when this was written: a start that saves time, and no more."""


def test_no_fault_breaks_an_invariant_and_every_fault_fires() -> None:
    first, fired = SystemRandom().randrange(10**9), Counter[str]()

    for number, seed in enumerate((*ALL_FAULTS, *range(first, first + AT_MOST))):
        if number >= len(ALL_FAULTS) + SEEDS and not missing(fired):
            break
        story = play(seed)
        fired += story.fired
        assert not story.broken, f"{shorten(story)}\nmake simulate SEEDS=1 FIRST={story.seed}"

    assert missing(fired) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_control_plane_that_leaves_out_a_rule_is_caught(name: str) -> None:
    first = OLD + 1 if name in ABSENT else 1
    start = KNOWN.get(name, first)
    stories = list(hunt(name, play=play, seeds=(*range(start, first + WITHIN), *range(first, start))))

    caught = stories[-1]
    assert caught.broken, f"{len(stories)} seeds and not caught"
    assert caught.broken[0] == "I" or caught.broken.startswith("ready"), f"an accident: {caught.broken}"
    assert not play(caught.seed).broken, "the real one breaks there as well"


def test_a_seed_tells_the_same_story_each_time() -> None:
    once, again = play(7), play(7)

    assert once.log == again.log
    assert once.fired == again.fired
