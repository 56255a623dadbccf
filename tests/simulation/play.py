"""One simulation per seed: a random cluster, a random story, faults, and then peace."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random
from unittest.mock import patch

from tests.simulation.peace import PEACE, check_peace, make_peace
from tests.simulation.script import DEEDS, LASTS, Deed, do, launch, write_script
from tests.simulation.views import Broken
from tests.simulation.world import POD_CIDR, Mutant, Odds, World

ODDS = Odds(lost=0.1, doubled=0.1, late=0.1, crash=0.06, second_reconcile=0.1)
TIGHT = 21
"""Length of a pod CIDR in which subnets have to grow, and need what others gave back."""
OLD = 200
"""Stories up to this seed have no days, no tight space, nothing of `absence`: the worse are hunted there."""


@dataclass
class Story:
    """What became of a seed; *broken* is empty when nothing was."""

    seed: int
    script: tuple[Deed, ...]
    broken: str = ""
    log: list[str] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    """Faults and deeds that happened, by kind."""
    checked: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.broken}", *map(str, self.script), *self.log]
        return "\n".join(lines)


def make_world(seed: int, mutant: Mutant) -> World:
    """A cluster of one to three subnets; they may share tables, and tables may be small."""
    rng = Random(seed)
    subnets = rng.choice((1, 2, 2, 3, 3))
    pods = (POD_CIDR, POD_CIDR, POD_CIDR.at(TIGHT)) if seed > OLD else (POD_CIDR,)
    pod = Random(f"pod {seed}").choice(pods)
    tables = tuple(rng.choice((number, 0)) for number in range(subnets))
    quota = rng.choice((6, 8, 12, 50)) + subnets
    world = World(rng, quota=quota, tables=tables, pod_cidr=pod, mutant=mutant, is_new=seed > OLD)
    for subnet in world.subnet_ids:
        for _ in range(rng.choice((0, 1, 2, 3, 3, 4))):
            launch(world, subnet)
    return world


def play(seed: int, *, script: tuple[Deed, ...] | None = None, mutant: Mutant | None = None) -> Story:
    """Let the story happen, by default the one that the seed tells."""
    story = Story(seed, write_script(Random(f"script {seed}"), new=seed > OLD) if script is None else script)
    mutant = mutant or Mutant()
    with patched(mutant):
        world = make_world(seed, mutant)
        try:
            _happen(world, story.script)
        except Broken as error:
            story.broken = str(error)
        except Exception:  # noqa: BLE001  (a bug in the code under test is a finding like any other)
            story.broken = traceback.format_exc()
        finally:
            world.scheduler.end()
    story.broken = world.plain(story.broken)
    story.log = [world.plain(line) for line in world.log]
    story.checked = world.checker.checked
    story.fired = (
        world.fired + world.calls.fired + Counter(deed.name for deed in story.script if deed.name in DEEDS)
    )
    story.fired += world.checker.space.seen
    story.fired["alarms are refused with an odd code"] += world.alarms.fired
    story.fired += Counter({f"EC2: {kind}": count for kind, count in world.faults.fired.items()})
    return story


def _happen(world: World, script: tuple[Deed, ...]) -> None:
    world.tick(60.0)
    world.run_for(90)
    world.odds = ODDS
    for deed in script:
        world.scheduler.after(deed.at, partial(do, world, deed))
    world.run_for(LASTS + 400)
    while (left := world.busy_until - world.scheduler.now()) > timedelta(0):
        world.run_for(left.total_seconds())
    make_peace(world)
    world.run_for(PEACE)
    check_peace(world)


@contextmanager
def patched(mutant: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        for target, other in mutant.patches:
            stack.enter_context(patch(target, other))
        yield


def shorten(story: Story) -> Story:
    """The same invariant broken by fewer deeds."""
    best = story
    for deed in story.script:
        tried = play(story.seed, script=tuple(one for one in best.script if one != deed))
        if tried.broken[:2] == story.broken[:2]:
            best = tried
    return best
