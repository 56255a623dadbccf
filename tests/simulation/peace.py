"""When faults stop: what is left must come to rest, and what rests must be right (I5)."""

from __future__ import annotations

from functools import partial

from podway.domain.addressing import Prefix
from podway.domain.signals import AlarmValue

from tests.simulation.absence import give_tag
from tests.simulation.checker import OURS
from tests.simulation.lives import point_agents, restore
from tests.simulation.views import Broken, hop
from tests.simulation.world import POD_CIDR, Odds, World

PEACE = 70 * 60.0
"""Seconds after which everything has come to rest: longer than the longest hold-down and its memory."""


def make_peace(world: World) -> None:
    """Faults stop, the operator takes away what is in the way, and CloudWatch says how things are."""
    world.say("--- peace")
    world.odds = Odds()
    world.faults.disarm()
    world.calls.chance = 0.0
    world.quiet = True
    _say_all(world)
    point_agents(world)
    restore(world)
    for agent in world.agents.values():
        agent.works = agent.relays = True
        agent.lies, agent.silent_until = False, None
    for (table, destination), (maker, _) in sorted(world.checker.makers.items()):
        if maker != OURS and POD_CIDR.contains(destination) and _is_foreign(world, table, destination):
            world.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=str(destination))
    accused = {
        (verdict.instance, source.removeprefix("alarm:"))
        for verdict in world.table.found_verdicts.values()
        for source in verdict.evidence
        if source.startswith("alarm:")
    }
    for node, name in sorted(accused | world.ailing.keys()):
        world.scheduler.after(2.0, partial(world.alarm, node, AlarmValue.OK, name))


def _say_all(world: World) -> None:
    """EC2 says again all that is; tags are back, and the key is right."""
    world.region.disrupt()
    world.region.lose_sight()
    world.alarms.is_full = False
    world.deploy()
    for node in sorted({owner.instance for owner in world.checker.owners.values() if owner.member}):
        give_tag(world, node)
    for table in world.table_ids:
        give_tag(world, table)


def _is_foreign(world: World, table: str, destination: Prefix) -> bool:
    found = world.region.state.tables.get(table)
    route = found.routes.get(destination) if found is not None else None
    return route is not None and route.target.id in world.strangers


def check_peace(world: World) -> None:
    """I5: everything that can be reached is, by what the last run saw, and another run changes nothing."""
    writes, calls = world.table.writes, world.checker.checked["writes"]
    done, alarms = len(world.outcomes), world.alarms.calls
    world.run_for(900)
    last = world.outcomes[done:]
    if not last or any(one.busy for one in last):
        raise Broken("I5: reconcile does not run")
    for one in last:
        if one.applied or one.failed or one.steps_left:
            raise Broken(f"I5: there is no rest: {one}")
    if world.checker.checked["writes"] != calls or world.table.writes != writes:
        raise Broken(f"I5: {world.table.writes - writes} writes to the store where nothing happens")
    if world.alarms.calls != alarms:
        raise Broken("I5: alarms are made or removed where nothing happens")
    _check_nodes(world)
    _check_alarms(world)
    _check_cards(world)
    _check_memory(world)


def _check_nodes(world: World) -> None:
    region = world.region
    for instance in region.state.instances.values():
        owner = world.checker.owners.get(instance.interfaces[0]) if instance.interfaces else None
        if instance.state != "running" or owner is None or not owner.member:
            continue
        member = world.table.found_members.get(instance.id)
        if member is None or not member.blocks:
            raise Broken(f"I5: {instance.id} has no block")
        unready = [block for block in member.blocks if not block.ready]
        if unready and not world.outcomes[-1].holes:
            raise Broken(f"I5: {instance.id} never became ready: {world.outcomes[-1].warnings}")
        for table in world.table_ids:
            if unready or region.state.subnets_of(table) in ((member.subnet,), ()):
                continue
            view = {
                d: r.target.id for d, r in region.state.tables[table].routes.items() if isinstance(d, Prefix)
            }
            for prefix in member.prefixes:
                next_hop = world.checker.owners.get(hop(view, prefix) or "")
                if next_hop is None or next_hop.subnet != member.subnet:
                    raise Broken(f"I5: {prefix} of {instance.id} is not reached by {table}: {next_hop}")
                if not world.checker.past.latest(next_hop.instance).runs and not world.outcomes[-1].holes:
                    raise Broken(f"I5: {prefix} of {instance.id} goes to the dead {next_hop.instance}")


def _check_cards(world: World) -> None:
    """Whoever relays can lose it at once: every relayed route is on the card of its next hop."""
    blocks = {
        block: m.id for m in world.table.found_members.values() if not m.gone_at for block in m.prefixes
    }
    for table in world.table_ids:
        for destination, route in world.region.state.tables[table].routes.items():
            owner = world.checker.owners.get(route.target.id)
            if owner is None or not isinstance(destination, Prefix) or route.target.id in world.strangers:
                continue
            others = any(destination.contains(b) and node != owner.instance for b, node in blocks.items())
            card = world.table.cards.get(owner.instance)
            on_card = card is not None and any(
                (one.table, one.destination) == (table, destination) for one in card.routes
            )
            if others and not on_card and destination in world.table.records.get(table, ()):
                raise Broken(f"I5: {destination} in {table} is not on the card of {owner.instance}")
            if card is not None and card.claim is not None and on_card:
                raise Broken(f"I5: {owner.instance} still bears the claim of {card.claim}")


def _check_alarms(world: World) -> None:
    """Exactly those who relay have an alarm."""
    relaying = {node for node, card in world.table.cards.items() if any(one.weight for one in card.routes)}
    if world.alarms.standing.keys() != relaying:
        raise Broken(f"I5: alarms on {sorted(world.alarms.standing)}, but {sorted(relaying)} relay")


def _check_memory(world: World) -> None:
    """Nothing is remembered of those who are gone for good."""
    alive = {one.id for one in world.region.state.instances.values() if one.state != "terminated"}
    for kind, known in (
        ("member", world.table.found_members),
        ("card", world.table.cards),
        ("verdict", world.table.found_verdicts),
    ):
        if left := known.keys() - alive:
            raise Broken(f"I5: a {kind} of {', '.join(sorted(left))} is left")
