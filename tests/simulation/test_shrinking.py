"""A subnet grows and shrinks, a day passes, and another subnet needs the space: all of it under faults."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from podway.domain.ipam.reclaim import Reclaim

from tests import limits
from tests.simulation.peace import PEACE, check_peace, make_peace
from tests.simulation.play import ODDS, patched
from tests.simulation.script import Deed, do, launch
from tests.simulation.views import Broken
from tests.simulation.world import POD_CIDR, Mutant, World

pytestmark = limits.long

SMALL = POD_CIDR.at(22)
"""Sixteen blocks: two subnets begin with two each, and can double twice."""
MINUTE = 60.0


def _has_left(*_: Any, **__: Any) -> Reclaim:
    """As if nothing led to what was given back."""
    return Reclaim((), {})


def act(seed: int, mutant: Mutant) -> World:
    """Subnet a grows to eight nodes and shrinks to two; the day passes; subnet b grows to ten."""
    world = World(Random(seed), quota=30, tables=(0, 1), pod_cidr=SMALL, mutant=mutant)
    one, other = world.subnet_ids
    with patched(mutant):
        try:
            grown = [launch(world, one) for _ in range(8)]
            launch(world, other)
            world.tick(MINUTE)
            world.run_for(5 * MINUTE)
            world.odds = ODDS
            world.ec2.terminate_instances(InstanceIds=grown[2:])
            world.run_for(15 * MINUTE)
            do(world, Deed(0, "a day passes", 0))
            world.run_for(3 * MINUTE)
            for _ in range(8):
                launch(world, other)
            world.run_for(20 * MINUTE)
            launch(world, other)
            world.run_for(5 * MINUTE)
            make_peace(world)
            world.run_for(PEACE)
            check_peace(world)
        finally:
            world.scheduler.end()
    return world


@pytest.mark.parametrize("seed", range(3))
def test_what_one_subnet_gave_back_is_anothers_in_the_end(seed: int) -> None:
    world = act(seed, Mutant())

    assert world.checker.space.seen["space was given back"]
    assert world.checker.space.seen["space had left"]
    assert world.checker.space.seen["space changed hands"]


def test_space_that_changes_hands_at_once_is_noticed() -> None:
    mutant = Mutant(patches=(("podway.domain.run.addresses.reclaim", _has_left),))

    with pytest.raises(Broken, match="I8"):
        act(1, mutant)
