"""The agents' protocol, without their kernels: poll, hold, acknowledge, probe, suspect."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from podway.domain.addressing import Prefix
from podway.domain.members.maps import SubnetMap
from podway.domain.run.memory import AgentReport
from podway.domain.signals import AgentReported

from tests.simulation.facts import Word

if TYPE_CHECKING:
    from tests.simulation.world import World

FAST, SLOW = 5.0, 30.0
"""Seconds between an agent's polls."""


@dataclass
class Agent:
    """What a node's kernel and disk hold, and whether its agent works."""

    node: str
    subnet: str
    epoch: int = 1
    """The store's life in which its map was made."""
    generation: int = 0
    heard: int = 1
    """The newest epoch that it knows: it may have no map of it yet."""
    held: set[Prefix] = field(default_factory=set)
    """Blocks that it was handed out: its pods may use them."""
    works: bool = True
    """Whether the agent does: its kernel goes on without it."""
    relays: bool = True
    """Whether its kernel relays what is not its own: what peers probe."""
    lies: bool = False
    """It suspects everybody that it may: it is broken, or in somebody else's hands."""
    silent_until: datetime | None = None
    """Until then nothing is heard of it."""
    suspects: frozenset[str] = frozenset()
    heartbeat: datetime | None = None

    def is_behind(self, known: SubnetMap | None) -> bool:
        """Whether that map is newer than what its kernel holds."""
        return known is not None and (known.epoch, known.generation) > (self.epoch, self.generation)

    def holds(self, epoch: int) -> int:
        """The generation of that epoch that its kernel holds."""
        return self.generation if self.epoch == epoch else 0

    def obey(self, known: SubnetMap) -> None:
        """Program the map, and give pods what is handed out in it."""
        self.epoch, self.generation = known.epoch, known.generation
        self.held |= self.handed_out(known)

    def handed_out(self, known: SubnetMap) -> set[Prefix]:
        """What the map gives its pods."""
        own = [member for member in known.members if member.id == self.node]
        return {block.prefix for member in own for block in member.blocks if block.ready}


def poll(world: World, node: str) -> None:
    """An agent reads its subnet's map, programs the kernel and says so."""
    instance = world.region.state.instances.get(node)
    if instance is None or instance.state != "running":
        return
    agent = world.agents.setdefault(node, Agent(node, instance.subnet))
    if agent.works and not (agent.silent_until and world.scheduler.now() < agent.silent_until):
        _program(world, agent)
    known = world.agents_table.maps.get(agent.subnet)
    near = known is not None and (node in known.forwarders or agent.is_behind(known))
    pace = SLOW if world.quiet or not near else FAST
    world.scheduler.after(pace * world.rng.uniform(0.8, 1.2), lambda: poll(world, node))


def _program(world: World, agent: Agent) -> None:
    store, now = world.agents_table, world.scheduler.now()
    known = store.maps.get(agent.subnet)
    there = known is not None and any(one.id == agent.node for one in known.members)
    heard = max(agent.heard, store.announced.get(agent.subnet, 1))
    news = (there and agent.is_behind(known)) or heard > agent.heard
    before, agent.suspects = agent.suspects, _probe(world, agent)
    old = agent.heartbeat is None or now - agent.heartbeat > timedelta(minutes=5)
    if not news and not old and agent.suspects == before:
        return
    if known is not None and there and agent.is_behind(known):
        agent.obey(known)
    heard = agent.heard = max(heard, agent.epoch)
    if world.rng.random() < world.calls.chance:
        agent.suspects = before
        return  # the report did not get through: the next poll's will
    agent.heartbeat = now
    world.checker.past.hear(agent.node, Word(now, heard, agent.holds(heard)))
    suspects = tuple(sorted(agent.suspects))
    store.reports[agent.node] = AgentReport(
        agent.node,
        agent.subnet,
        agent.holds(heard),
        now,
        suspects,
        2 if sum(agent.node.encode()) % 5 == 0 else 1,  # some run out of addresses
        epoch=heard,
        blocks=tuple(sorted(agent.held)),
    )
    _tell(world, agent, before=before, is_acknowledging=news)


def _probe(world: World, agent: Agent) -> frozenset[str]:
    """The forwarders that it watches and through which nothing comes, by its own word."""
    known = world.agents_table.maps.get(agent.subnet)
    watched = [one for one, watchers in known.watches if agent.node in watchers] if known else []
    return frozenset(one for one in watched if agent.lies or not _relays(world, one))


def _relays(world: World, node: str) -> bool:
    instance = world.region.state.instances.get(node)
    runs = instance is not None and instance.state == "running"
    return runs and (node not in world.agents or world.agents[node].relays)


def _tell(world: World, agent: Agent, *, before: frozenset[str], is_acknowledging: bool) -> None:
    """One item says it all: the stream gives it to failover and to lifecycle."""
    suspects = tuple(sorted(agent.suspects))
    is_news = agent.suspects != before
    report = AgentReported(
        world.event_id(),
        world.scheduler.now().replace(microsecond=0),
        agent.node,
        suspects,
        tuple(sorted(before - agent.suspects)),
        agent.subnet,
        agent.generation,
        (*(["suspicion"] if is_news else []), *(["acknowledged"] if is_acknowledging else [])),
    )
    if is_news:
        world.say(f"{agent.node} suspects {', '.join(suspects) or 'nobody'}")
        world.fired["peers suspect"] += bool(suspects)
        world.deliver(report, "failover")
    if is_acknowledging:
        world.deliver(report, "lifecycle")
