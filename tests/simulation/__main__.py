"""``make simulate SEEDS=n [FIRST=seed]``: that many simulations, on all processors.

A breach prints the seed that replays it, and a shortened story. Among many seeds every fault must fire.
"""

from __future__ import annotations

import sys
from collections import Counter
from multiprocessing import Pool
from random import SystemRandom

from tests.simulation.faults import missing
from tests.simulation.play import Story, play, shorten

ENOUGH = 200
"""Seeds among which every fault must have fired."""


def main(arguments: list[str]) -> int:
    """Run them; 1 when anything broke. Without FIRST the seeds are fresh ones."""
    count = int(arguments[0]) if arguments else 200
    first = int(arguments[1]) if len(arguments) > 1 else SystemRandom().randrange(10**9)
    fired: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    broken: list[Story] = []
    with Pool(maxtasksperchild=50) as pool:
        for story in pool.imap_unordered(play, range(first, first + count)):
            fired += story.fired
            checked += story.checked
            if story.broken:
                broken.append(story)
                _say(f"seed {story.seed}: {story.broken.splitlines()[-1]}")
    if broken:
        _say(str(shorten(min(broken, key=lambda story: len(story.script)))))
    _say(f"seeds {first} to {first + count - 1}: {len(broken)} broken")
    _say(f"checked: {_counts(checked)}")
    _say(f"happened: {_counts(fired)}")
    silent = missing(fired) if count >= ENOUGH else []
    if silent:
        _say(f"never happened: {', '.join(silent)}")
    return 1 if broken or silent else 0


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
