"""The agents' protocol, without their kernels: poll, hold, acknowledge, probe, suspect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from podway.domain.run.memory import AgentReport
from podway.domain.signals import AgentReported

if TYPE_CHECKING:
    from tests.simulation.world import World

FAST, SLOW = 5.0, 30.0
"""Seconds between an agent's polls."""


@dataclass
class Agent:
    """What a node's kernel and disk hold, and whether its agent works."""

    node: str
    subnet: str
    generation: int = 0
    works: bool = True
    """Whether the agent does: its kernel goes on without it."""
    relays: bool = True
    """Whether its kernel relays what is not its own: what peers probe."""
    lies: bool = False
    """It suspects everybody that it may: it is broken, or in somebody else's hands."""
    suspects: frozenset[str] = frozenset()
    heartbeat: datetime | None = None


def poll(world: World, node: str) -> None:
    """An agent reads its subnet's map, programs the kernel and says so."""
    instance = world.region.state.instances.get(node)
    if instance is None or instance.state != "running":
        return
    agent = world.agents.setdefault(node, Agent(node, instance.subnet))
    if agent.works:
        _program(world, agent)
    known = world.table.maps.get(agent.subnet)
    near = known is not None and (node in known.forwarders or agent.generation < known.generation)
    pace = SLOW if world.quiet or not near else FAST
    world.scheduler.after(pace * world.rng.uniform(0.8, 1.2), lambda: poll(world, node))


def _program(world: World, agent: Agent) -> None:
    known, now = world.table.maps.get(agent.subnet), world.scheduler.now()
    there = known is not None and any(one.id == agent.node for one in known.members)
    news = known is not None and there and known.generation > agent.generation
    before, agent.suspects = agent.suspects, _probe(world, agent)
    old = agent.heartbeat is None or now - agent.heartbeat > timedelta(minutes=5)
    if not news and not old and agent.suspects == before:
        return
    if known is not None and there:
        agent.generation = known.generation
    if world.rng.random() < world.calls.chance:
        agent.suspects = before
        return  # the report did not get through: the next poll's will
    agent.heartbeat = now
    suspects = tuple(sorted(agent.suspects))
    world.table.reports[agent.node] = AgentReport(
        agent.node,
        agent.subnet,
        agent.generation,
        now,
        suspects,
        2 if sum(agent.node.encode()) % 5 == 0 else 1,  # some run out of addresses
    )
    if agent.suspects != before:
        _tell(world, agent, suspects, tuple(sorted(before - agent.suspects)))
    if news:
        report = AgentReported(
            world.event_id(),
            now,
            agent.node,
            subnet=agent.subnet,
            generation=agent.generation,
            cause="acknowledged",
        )
        world.deliver(report, "lifecycle")


def _probe(world: World, agent: Agent) -> frozenset[str]:
    """The forwarders that it watches and through which nothing comes, by its own word."""
    known = world.table.maps.get(agent.subnet)
    watched = [one for one, watchers in known.watches if agent.node in watchers] if known else []
    return frozenset(one for one in watched if agent.lies or not _relays(world, one))


def _relays(world: World, node: str) -> bool:
    instance = world.region.state.instances.get(node)
    runs = instance is not None and instance.state == "running"
    return runs and (node not in world.agents or world.agents[node].relays)


def _tell(world: World, agent: Agent, suspects: tuple[str, ...], cleared: tuple[str, ...]) -> None:
    world.say(f"{agent.node} suspects {', '.join(suspects) or 'nobody'}")
    world.fired["peers suspect"] += bool(suspects)
    world.deliver(
        AgentReported(
            world.event_id(),
            world.scheduler.now().replace(microsecond=0),
            agent.node,
            suspects,
            cleared,
            agent.subnet,
            agent.generation,
            "suspicion",
        ),
        "failover",
        "lifecycle",
    )
