"""Reconcile meets the failovers of one dead forwarder, between any two calls: each route moves once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random, SystemRandom

import pytest
from podway.domain.addressing import Prefix
from podway_lab.region.changes import Change, RouteWritten

from tests import limits
from tests.simulation.checker import OURS
from tests.simulation.script import launch
from tests.simulation.views import hop
from tests.simulation.world import World

pytestmark = limits.long

KNOWN = (20, 38, 72, 77)
"""Stories that broke when the card of a terminated node was not looked at."""
FRESH = 26
Place = tuple[str, Prefix]
"""A table, and a destination in it."""


class Meeting:
    """Two subnets of three nodes; the forwarder of the first dies while reconcile is on its way."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.world = World(self.rng, quota=self.rng.choice((5, 8)), tables=(0, 1), is_new=True)
        self.moved = Counter[Place]()
        for subnet in self.world.subnet_ids * 3:
            launch(self.world, subnet)
        self.world.tick(20.0)
        self.world.run_for(200)
        self.world.region.subscribe(self._count)

    def _count(self, change: Change) -> None:
        if not isinstance(change, RouteWritten) or change.caller != OURS:
            return
        before, after = change.before, change.after
        if before and after and before.target != after.target and isinstance(change.destination, Prefix):
            self.moved[change.table, change.destination] += 1

    def relayed(self, node: str) -> set[Place]:
        """The routes through the node that carry blocks of others."""
        world, found = self.world, set[Place]()
        interface = next(one for one, owner in world.checker.owners.items() if owner.instance == node)
        for table in world.table_ids:
            held = world.region.state.tables[table].routes
            view = {one: route.target.id for one, route in held.items() if isinstance(one, Prefix)}
            for member in world.table.found_members.values():
                for block in member.prefixes if member.id != node else ():
                    if hop(view, block) == interface:
                        longest = max(
                            (one for one in view if one.contains(block)), key=lambda one: one.length
                        )
                        found.add((table, longest))
        return found

    def die(self) -> set[Place]:
        """The busiest node of the first subnet stops, or is terminated, or both. What it relayed before."""
        world, rng = self.world, self.rng
        world.odds.doubled = 0.5
        settings = world.region.settings
        quick = {state: rng.choice((0.0, 0.5, 5.0)) for state in ("stopping", "shutting-down")}
        world.region.settings = replace(settings, lifecycle={**settings.lifecycle, **quick})
        first = [one.id for one in world.region.state.instances.values() if one.subnet == world.subnet_ids[0]]
        node = max(sorted(first), key=lambda one: len(self.relayed(one)))
        for _ in range(3):
            world.scheduler.after(rng.uniform(0, 4), partial(world.hint, "on its way"))
        world.run_for(rng.uniform(0, 3))
        self.moved.clear()
        before, end = self.relayed(node), rng.choice(("stop", "terminate", "both"))
        if end != "terminate":
            world.ec2.stop_instances(InstanceIds=[node])
        if end == "both":
            world.run_for(rng.choice((0.0, rng.uniform(0, 2))))
        if end != "stop":
            world.ec2.terminate_instances(InstanceIds=[node])
        for _ in range(3):
            world.region.settle()
            world.run_for(0.3)
        return before


@pytest.mark.parametrize("seeds", [KNOWN, None], ids=["known", "fresh"])
def test_each_route_of_a_dead_forwarder_moves_once(seeds: tuple[int, ...] | None) -> None:
    first = SystemRandom().randrange(10**9)

    for seed in seeds or range(first, first + FRESH):
        meeting = Meeting(seed)
        relayed = meeting.die()
        meeting.world.run_for(60)

        story = "\n".join(meeting.world.plain(line) for line in meeting.world.log[-40:])
        assert relayed, "nothing was at stake"
        assert {one: meeting.moved[one] for one in relayed} == dict.fromkeys(relayed, 1), f"{seed}:\n{story}"
        meeting.world.scheduler.end()
