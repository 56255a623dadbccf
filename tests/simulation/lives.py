"""What becomes of the store, of the stack beside ours and of its settings: deeds of the newer stories.

`script` draws and does them. The store is another table, with what a backup held or with nothing; an operator
begins a new epoch (``podway restore``), and agents are pointed at the table perhaps later.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import fields, replace
from datetime import timedelta
from random import Random
from typing import Any

from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.reconcile import Reconcile
from podway.app.restore import Restore
from podway.domain.addressing import Prefix

from tests.fakes.ledger import FakeLedger
from tests.fakes.store import FakeStore
from tests.fakes.world import FakeAlarms
from tests.simulation.checker import STRAY
from tests.simulation.store import SimClient, SimStore
from tests.simulation.views import Broken
from tests.simulation.world import RULES, STACK, World

PATIENCE = (60.0,) * 10
"""Seconds after which an operator tries again."""
WRONG = Prefix.parse("100.80.0.0/16")
"""A pod CIDR that nobody has a block of."""


def _is_restored(world: World, rng: Random) -> None:
    """To what it was minutes ago."""
    backup = copy.deepcopy(world.table)
    world.scheduler.after(rng.uniform(60, 400), lambda: _swap(world, backup, rng, "the store is restored"))


def _is_lost(world: World, rng: Random) -> None:
    _swap(world, FakeStore(epoch=None), rng, "the store is lost")


def _swap(world: World, held: FakeStore, rng: Random, name: str) -> None:
    """Between two runs: whoever runs goes on with the table that it began with."""
    if world.lives > 1 or not world.table.found_members:
        return
    if world.at_work:
        world.scheduler.after(0.5, lambda: _swap(world, held, rng, name))
        return
    world.lives += 1
    world.fired[name] += 1
    world.say(f"--- {name}")
    if rng.random() < 0.5:
        world.agents_table = copy.deepcopy(world.table)
        world.scheduler.after(rng.uniform(60, 400), lambda: point_agents(world))
    writes, spoilt = world.table.writes, world.table.spoilt
    for one in fields(FakeStore):
        setattr(world.table, one.name, copy.deepcopy(getattr(held, one.name)))
    world.table.writes, world.table.spoilt, world.table.lease = writes, spoilt, None
    world.table.found_table_id = f"table-{world.lives}"
    world.checker.begin_life({node: _comes_to_hold(world, node) for node in world.agents})
    point_agents(world, soon=world.agents_table is world.table)
    world.scheduler.after(rng.uniform(20, 300), lambda: restore(world))


def _comes_to_hold(world: World, node: str) -> set[Prefix]:
    """What the node's agent was handed out, and what the table hands out that it still reads."""
    agent = world.agents[node]
    known = world.agents_table.maps.get(agent.subnet) if world.agents_table is not world.table else None
    return agent.held | (agent.handed_out(known) if known is not None else set())


def point_agents(world: World, *, soon: bool = True) -> None:
    """The agents read and write the table that the functions do: each says at once what it holds."""
    if soon:
        world.agents_table = world.table
        for agent in world.agents.values():
            agent.heartbeat = None


def restore(world: World) -> None:
    """An operator begins a new epoch, unless it has been done."""
    if world.begun == world.lives:
        return
    use_case = Restore(
        cluster="sim",
        stack=STACK,
        quarantine=RULES.quarantine,
        cloud=world.cloud,
        store=SimStore(world.table, world.calls, world.checker.noted),
        ledger=FakeLedger(world.table),
        hints=world,
        clock=world.scheduler,
        pause=world.scheduler.sleep,
    )

    def begin() -> None:
        if world.begun < world.lives:
            done = use_case.begin(patience=timedelta(seconds=30))
            world.begun = world.lives
            world.say(f"--- an operator begins epoch {done.after.number}")

    world.invoke("restore", begin, PATIENCE)


class OthersAlarms(FakeAlarms):
    """The alarms of our stack, as another one sees them."""

    def watch(self, instance: str) -> None:
        raise Broken(f"I2: another stack makes an alarm on {instance}")

    def forget(self, instances: Collection[str]) -> None:
        if instances:
            raise Broken(f"I2: another stack removes alarms on {instances}")


def _stray_stack(world: World, rng: Random) -> None:
    """Somebody deploys another stack for the same cluster, with a store of its own. It runs now and then."""
    client: Any = SimClient(world.region, STRAY, world.scheduler, lambda *_: None, lambda _: None)
    other = Reconcile(
        cloud=Ec2Cloud(client, cluster="sim", quota=RouteQuota(fixed=world.quota), vpc=world.checker.vpc),
        store=SimStore(FakeStore(epoch=None, found_table_id=STRAY), world.calls, lambda *_: None),
        hints=world,
        clock=world.scheduler,
        alarms=OthersAlarms(world.scheduler.now, standing=world.alarms.standing, others=world.alarms.others),
        hooks=world,
        rules=replace(RULES, pod_cidrs=(world.pod_cidr,), stack=STRAY),
    )

    def run() -> None:
        world.fired[STRAY] += bool(other.run(STRAY).other_stacks)

    for _ in range(rng.choice((1, 2, 5))):
        world.scheduler.after(rng.uniform(0, 400), lambda: world.invoke(STRAY, run))


def _pod_cidr_is_wrong(world: World, rng: Random) -> None:
    """A stack update names another range, while nodes have blocks of the former; another mends it."""
    if not any(member.blocks for member in world.table.found_members.values()) or not world.table.maps:
        return
    world.deploy(pod_cidr=WRONG)
    world.fired["the pod CIDR is mistyped"] += 1
    world.scheduler.after(rng.uniform(60, 600), world.deploy)


LIVES: dict[str, Callable[[World, Random], None]] = {
    "the store is restored": _is_restored,
    "the store is lost": _is_lost,
}
"""One of a story at most: by the name under which it is counted, what it does."""
SETTINGS: dict[str, Callable[[World, Random], None]] = {
    STRAY: _stray_stack,
    "the pod CIDR is mistyped": _pod_cidr_is_wrong,
}
