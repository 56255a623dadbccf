"""What happens to a cluster: a list drawn from a seed, so that it can be replayed and shortened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import Random

from podway.domain.addressing import Prefix
from podway.domain.health.alarms import alarms_against
from podway.domain.health.reassess import DRAINED
from podway.domain.health.verdict import Evidence, Severity
from podway.domain.ipam.reclaim import ROUND
from podway.domain.signals import AlarmValue, HandoverAsked, HandoverReason, LifecycleHook
from podway_lab.region.faults import Kind

from tests.simulation.absence import ABSENCES, HIDING
from tests.simulation.checker import OURS
from tests.simulation.lives import LIVES, SETTINGS
from tests.simulation.world import ACCOUNT_TAGS, POD_CIDR, World

LASTS = 600.0
"""Seconds in which things happen."""


AMNESIA = 0.15
"""How many of the newer stories have a store that goes back, or is lost."""


@dataclass(frozen=True)
class Deed:
    """Something that happens at a time; *draw* seeds whatever it chooses then."""

    at: float
    name: str
    draw: int

    def __str__(self) -> str:
        return f"{self.at:6.1f} {self.name} ({self.draw})"


def write_script(rng: Random, *, new: bool = True) -> tuple[Deed, ...]:
    """A random story; a *new* one has what the world fails to say, and perhaps a day or two that pass."""
    names = list(DEEDS)
    weights = [weight for weight, _ in DEEDS.values()]
    count = rng.randrange(4, 22)
    deeds = [
        Deed(at, rng.choices(names, weights)[0], rng.getrandbits(32))
        for at in sorted(rng.uniform(0, LASTS) for _ in range(count))
    ]
    if new:
        deeds += [Deed(rng.uniform(0, LASTS), "a day passes", 0) for _ in range(rng.choice((0, 0, 1, 2)))]
        deeds += [
            Deed(rng.uniform(0, LASTS), rng.choice(NEW), rng.getrandbits(32))
            for _ in range(rng.choice((0, 1, 2, 2, 3)))
        ]
        if rng.random() < AMNESIA:
            deeds = [deed for deed in deeds if deed.name not in HIDING]
            deeds.append(Deed(rng.uniform(0, LASTS), rng.choice(sorted(LIVES)), rng.getrandbits(32)))
    return tuple(sorted(deeds, key=lambda deed: deed.at))


def do(world: World, deed: Deed) -> None:
    """Let it happen, if it can."""
    world.say(f"--- {deed.name}")
    act = {**ABSENCES, **LIVES, **SETTINGS}.get(deed.name) or DEEDS[deed.name][1]
    act(world, Random(deed.draw))


def _nodes(world: World, *states: str) -> list[str]:
    wanted = states or ("running",)
    return sorted(
        one.id
        for one in world.region.state.instances.values()
        if one.state in wanted and one.tags.get("podway:cluster") and one.vpc == world.checker.vpc
    )


def launch(world: World, subnet: str, *, spot: bool = False, member: bool = True) -> str:
    """A new instance; a stranger when it is no *member*."""
    tags = [{"ResourceType": "instance", "Tags": ACCOUNT_TAGS}] if member else []
    market = {"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}
    made = world.ec2.run_instances(
        ImageId="ami-1", MinCount=1, MaxCount=1, SubnetId=subnet, TagSpecifications=tags, **market
    )
    return str(made["Instances"][0]["InstanceId"])


def _join(world: World, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        launch(world, rng.choice(world.subnet_ids), spot=rng.random() < 0.2)


def _terminate(world: World, rng: Random) -> None:
    for node in rng.sample(_nodes(world), k=min(rng.choice((1, 1, 1, 2)), len(_nodes(world)))):
        world.ec2.terminate_instances(InstanceIds=[node])


def _stop(world: World, rng: Random) -> None:
    stoppable = [node for node in _nodes(world) if not world.region.state.instances[node].spot]
    if stoppable:
        node = rng.choice(stoppable)
        world.ec2.stop_instances(InstanceIds=[node])
        world.scheduler.after(rng.uniform(20, 400), lambda: _start(world, node))


def _start(world: World, node: str) -> None:
    if node in _nodes(world, "stopped"):
        world.ec2.start_instances(InstanceIds=[node])


def _fail_silently(world: World, rng: Random) -> None:
    """The node forwards nothing; an alarm notices, and notices when it is well again."""
    if not _nodes(world):
        return
    node = rng.choice(_nodes(world))
    times = rng.choice((1, 1, 3))
    world.fired["a node flaps"] += times > 1
    for _ in range(times):
        _ail(world, node, rng, broken=rng.random() < 0.7)


def _ail(world: World, node: str, rng: Random, *, broken: bool) -> None:
    begins, lasts, name = rng.uniform(0, 200), rng.uniform(10, 200), rng.choice(("check", "other"))

    def fall() -> None:
        if broken and node in world.agents:
            world.agents[node].works = world.agents[node].relays = False
        world.ailing[node, name] = True
        world.alarm(node, AlarmValue.ALARM, name)

    def recover() -> None:
        if node in world.agents:
            world.agents[node].works = world.agents[node].relays = True
        world.ailing.pop((node, name), None)
        world.alarm(node, AlarmValue.OK, name)

    world.scheduler.after(begins, fall)
    world.scheduler.after(begins + lasts, recover)


def _alarm_deleted(world: World, rng: Random) -> None:
    """Somebody deletes an alarm that is on: CloudWatch sends no OK."""
    there = [one.name for one in (*world.alarms.standing.values(), *world.alarms.others.values())]
    accusing = alarms_against(world.table.found_verdicts).intersection(there)
    if not accusing:
        world.scheduler.after(
            rng.uniform(20, 60), lambda: _alarm_deleted(world, rng) if not world.quiet else None
        )
        return
    name = rng.choice(sorted(accusing))
    world.fired["an alarm that is on is deleted"] += 1
    world.say(f"alarm {name} is deleted")
    world.deleted.add(name)
    world.alarms.others.pop(name, None)
    for node in [node for node, one in world.alarms.standing.items() if one.name == name]:
        del world.alarms.standing[node]


def _monitor_breaks(world: World, rng: Random) -> None:
    """Alarms for most of a subnet, and none of them true."""
    home = rng.choice(world.subnet_ids)
    for node in _nodes(world):
        if world.region.state.instances[node].subnet == home and rng.random() < 0.9:
            _ail(world, node, rng, broken=False)


def _agent_dies(world: World, rng: Random) -> None:
    if world.agents:
        agent = world.agents[rng.choice(sorted(world.agents))]
        agent.works = False
        world.scheduler.after(rng.uniform(10, 300), lambda: setattr(agent, "works", True))


def _relays_nothing(world: World, rng: Random) -> None:
    """Its kernel drops what it should relay, and only its peers can tell."""
    forwarders = sorted(node for node, card in world.table.cards.items() if card.watchers)
    if forwarders:
        agent = world.agents.get(rng.choice(forwarders))
        if agent is not None:
            agent.relays = False
            world.scheduler.after(rng.uniform(30, 300), lambda: setattr(agent, "relays", True))


def _spoils(world: World, rng: Random) -> None:
    """A node writes what is beyond all bounds into its item, and is refused until it writes another."""
    if world.agents:
        node = rng.choice(sorted(world.agents))
        world.table.spoilt[node] = "suspects: too many"

        def mend() -> None:
            world.table.spoilt.pop(node, None)

        world.scheduler.after(rng.uniform(60, 400), mend)


def _lies(world: World, rng: Random) -> None:
    """A node that suspects everybody whom it may: one voice, and no more."""
    if world.agents:
        agent = world.agents[rng.choice(sorted(world.agents))]
        agent.lies = True
        world.scheduler.after(rng.uniform(60, 400), lambda: setattr(agent, "lies", False))


def _drain(world: World, rng: Random) -> None:
    if not _nodes(world):
        return
    node, reason = rng.choice(_nodes(world)), rng.choice(list(HandoverReason))
    hook = (
        LifecycleHook("workers", "podway", "token", node) if reason is HandoverReason.TERMINATE_HOOK else None
    )
    at = world.scheduler.now().replace(microsecond=0)
    world.deliver(HandoverAsked(world.event_id(), at, (node,), reason, hook), "lifecycle")
    if reason is not HandoverReason.REBALANCE:
        world.scheduler.after(rng.uniform(60, 180), lambda: _reap(world, node))


def _drain_from_ahead(world: World, rng: Random) -> None:
    """A command by a clock that is up to six hours ahead drains a node, and undrains it by a true one.

    It may have been killed while it held the lease.
    """
    if not _nodes(world):
        return
    node, ahead = rng.choice(_nodes(world)), timedelta(seconds=rng.uniform(60, 6 * 3600))
    then, failover = world.scheduler.now() + ahead, world.command(ahead)
    if rng.random() < 0.5 and world.table.lease is None:
        world.fired["a lease lies ahead"] += 1
        world.table.acquire_lease("laptop", now=then, until=then + timedelta(seconds=60))
    evidence = Evidence(DRAINED, Severity.HANDOVER, then)
    world.invoke("laptop", lambda: failover.fail_over(node, evidence, event=world.event_id()), retries=())

    def undrain() -> None:
        work = partial(world.failover.withdraw, node, DRAINED, as_of=world.scheduler.now())
        world.invoke("undrain", work)

    world.scheduler.after(rng.uniform(100, 300), undrain)


def _reap(world: World, node: str) -> None:
    if node in _nodes(world, "running", "stopped", "stopping"):
        world.ec2.terminate_instances(InstanceIds=[node])


def _ours(world: World) -> list[tuple[str, Prefix]]:
    made = (key for key, (maker, _) in world.checker.makers.items() if maker == OURS)
    tables = world.region.state.tables
    return sorted(key for key in made if key[0] in tables and key[1] in tables[key[0]].routes)


def _stranger(world: World, rng: Random) -> str:
    """The interface of an instance that is nobody's member."""
    if not world.strangers:
        node = launch(world, rng.choice(world.subnet_ids), member=False)
        world.strangers.append(world.region.state.instances[node].interfaces[0])
    return world.strangers[0]


def _delete_by_hand(world: World, rng: Random) -> None:
    if _ours(world):
        table, destination = rng.choice(_ours(world))
        world.ec2.delete_route(RouteTableId=table, DestinationCidrBlock=str(destination))


def _take_by_hand(world: World, rng: Random) -> None:
    """One of our routes is given to a stranger, or to another node."""
    if not _ours(world):
        return
    table, destination = rng.choice(_ours(world))
    target = _stranger(world, rng)
    if rng.random() < 0.4 and _nodes(world):
        target = world.region.state.instances[rng.choice(_nodes(world))].interfaces[0]
    world.ec2.replace_route(
        RouteTableId=table, DestinationCidrBlock=str(destination), NetworkInterfaceId=target
    )


def _add_by_hand(world: World, rng: Random) -> None:
    """A foreign route, inside the pod CIDR or outside."""
    table = rng.choice(world.table_ids)
    inside = rng.random() < 0.6
    length = rng.randrange(18, 28)
    network = (POD_CIDR if inside else Prefix.parse("172.16.0.0/16")).value + rng.getrandbits(16)
    destination = Prefix(4, network, 32).at(length)
    held = world.region.state.tables[table].routes
    if destination not in held and len(held) < world.quota:
        world.ec2.create_route(
            RouteTableId=table,
            DestinationCidrBlock=str(destination),
            NetworkInterfaceId=_stranger(world, rng),
        )


def _check_by_hand(world: World, rng: Random) -> None:
    """Somebody switches a node's source/dest check on again."""
    if _nodes(world):
        interface = world.region.state.instances[rng.choice(_nodes(world))].interfaces[0]
        world.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, SourceDestCheck={"Value": True}
        )


def _day_passes(world: World, rng: Random) -> None:
    """The last daily round was a day ago: whoever runs next lets subnets give back what is empty."""
    del rng
    if world.table.given_back is not None:
        world.table.given_back -= ROUND


def _api_trouble(world: World, rng: Random) -> None:
    kind = rng.choice((Kind.THROTTLED, Kind.BROKEN, Kind.UNREACHABLE, Kind.LOST_REPLY, Kind.STALE))
    chance = rng.choice((0.05, 0.2, 0.6))
    world.faults.arm(
        kind, caller=OURS, chance=chance, seconds=rng.uniform(1, 8) if kind is Kind.STALE else 0.0
    )
    world.scheduler.after(rng.uniform(5, 90), lambda: world.faults.disarm(kind))


def _store_trouble(world: World, rng: Random) -> None:
    world.calls.chance = rng.choice((0.02, 0.1, 0.4))
    world.scheduler.after(rng.uniform(5, 60), lambda: setattr(world.calls, "chance", 0.0))


DEEDS: dict[str, tuple[int, Callable[[World, Random], None]]] = {
    "nodes join": (6, _join),
    "nodes are terminated": (6, _terminate),
    "a node stops": (3, _stop),
    "a node fails": (4, _fail_silently),
    "the monitor breaks": (1, _monitor_breaks),
    "an agent dies": (2, _agent_dies),
    "a node relays nothing": (3, _relays_nothing),
    "an agent lies": (1, _lies),
    "a node drains": (3, _drain),
    "a route is deleted by hand": (1, _delete_by_hand),
    "a route is taken by hand": (1, _take_by_hand),
    "a route is added by hand": (2, _add_by_hand),
    "a check is set by hand": (1, _check_by_hand),
    "EC2 has trouble": (3, _api_trouble),
    "the store has trouble": (2, _store_trouble),
    "a day passes": (0, _day_passes),
    "an alarm is deleted": (0, _alarm_deleted),
    "an agent spoils its item": (0, _spoils),
    "a node is drained by a clock that is ahead": (0, _drain_from_ahead),
}
NEW = (
    *ABSENCES,
    *SETTINGS,
    *("an alarm is deleted",) * 2,
    "an agent spoils its item",
    *("a node is drained by a clock that is ahead",) * 2,
)
"""What newer stories draw beside the rest. A weight above 0 would change the older ones, which stay."""
