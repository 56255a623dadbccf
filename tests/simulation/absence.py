"""What the world fails to say, or says in new words: deeds of the stories above `play.OLD`.

`script` draws and does them beside its own. Each counts itself where it happens; what only a call can meet
is counted where the call meets it (`World.refused`, `SimAlarms`, `Faults.fired`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any

from podway_lab.region.alterations import end_early, leave_out, say
from podway_lab.region.faults import Alteration, Kind

from tests.simulation.checker import OURS
from tests.simulation.world import ACCOUNT_TAGS, NODE_TAG, World

MINUTE = 60.0
FORGOTTEN = 240.0
"""Most seconds for which EC2 does not find a running node: five minutes and a silent agent end it."""
SILENT_FIRST = 13 * MINUTE
"""So long every agent is silent before EC2 forgets the whole cluster: only the mass of it speaks for them."""


def members(world: World) -> list[str]:
    """Instances of the cluster that are not on their way out, with or without their tag."""
    return sorted(
        {
            owner.instance
            for owner in world.checker.owners.values()
            if owner.member
            and (one := world.region.state.instances.get(owner.instance)) is not None
            and one.state in ("pending", "running", "stopping", "stopped")
        }
    )


# EC2 says less, or something else


def _alter(
    world: World, name: str, kind: Kind, action: str, alteration: Alteration, rng: Random, lasts: float
) -> None:
    """For so long some answers are altered; *name* is counted for each."""

    def counted(answer: dict[str, Any], chance: Random) -> dict[str, Any]:
        after = alteration(answer, chance)
        world.fired[name] += after != answer
        return after

    world.faults.arm(kind, action=action, caller=OURS, chance=rng.choice((0.5, 1.0)), alter=counted)
    world.scheduler.after(lasts, lambda: world.faults.disarm(kind))


def _leaves_members_out(world: World, rng: Random) -> None:
    """In lists and when asked by id."""
    thinner = leave_out(rng.choice((0.3, 0.7, 1.0)))
    lasts = rng.uniform(30, 300)
    _alter(world, "EC2 leaves members out", Kind.THINNER, "ec2:DescribeInstances", thinner, rng, lasts)


def _answers_thinner(world: World, rng: Random) -> None:
    """Whatever it is asked: tables, subnets, ranges, instances."""
    thinner = leave_out(rng.choice((0.1, 0.3, 0.7)))
    _alter(world, "EC2's answers are thinner", Kind.THINNER, "ec2:*", thinner, rng, rng.uniform(30, 200))


def _pages_end_early(world: World, rng: Random) -> None:
    _alter(world, "EC2's pages end early", Kind.THINNER, "ec2:*", end_early, rng, rng.uniform(30, 200))


def _unheard_of(world: World, rng: Random, name: str, path: str, word: str) -> None:
    alteration = say(path, word, share=rng.choice((0.2, 0.6, 1.0)))
    _alter(world, name, Kind.UNHEARD_OF, "ec2:*", alteration, rng, rng.uniform(30, 300))


def _odd_route_state(world: World, rng: Random) -> None:
    _unheard_of(world, rng, "a route's state is unheard of", "RouteTables.Routes.State", "dreaming")


def _odd_origin(world: World, rng: Random) -> None:
    _unheard_of(world, rng, "a route's origin is unheard of", "RouteTables.Routes.Origin", "Divination")


def _odd_instance_state(world: World, rng: Random) -> None:
    path = "Reservations.Instances.State.Name"
    _unheard_of(world, rng, "an instance's state is unheard of", path, "sleepwalking")


def _table_refuses(world: World, rng: Random) -> None:
    """Every write to one table, with a code that we do not know."""
    table = rng.choice(world.table_ids)
    world.faults.arm(Kind.REFUSED, action="ec2:*Route", caller=OURS, about=table, code="IncorrectState")
    world.scheduler.after(rng.uniform(30, 400), lambda: world.faults.disarm(Kind.REFUSED))


def _alarms_refused(world: World, rng: Random) -> None:
    world.alarms.is_full = True
    world.scheduler.after(rng.uniform(200, 600), lambda: setattr(world.alarms, "is_full", False))


def _zone_disrupted(world: World, rng: Random) -> None:
    zones = sorted({one.availability_zone for one in world.region.state.instances.values()})
    if zones:
        world.region.disrupt(rng.choice(zones))
        world.scheduler.after(rng.uniform(60, 400), world.region.disrupt)


def _forgets_a_node(world: World, rng: Random) -> None:
    if members(world) and not world.region.state.unseen:
        world.region.lose_sight(rng.choice(members(world)))
        world.scheduler.after(rng.uniform(30, FORGOTTEN), world.region.lose_sight)


def _forgets_the_cluster(world: World, rng: Random) -> None:
    """No agent says a word, and then EC2 finds no node any more, for longer than one alone would last."""
    lasts = rng.uniform(6, 9) * MINUTE
    _silence(world, members(world), SILENT_FIRST + lasts)

    def forget() -> None:
        world.region.lose_sight("*")
        world.fired["EC2 forgets the cluster"] += 1
        world.scheduler.after(lasts, world.region.lose_sight)

    world.scheduler.after(SILENT_FIRST, forget)


# People take away and give back


def give_tag(world: World, resource: str) -> None:
    """Give what still exists the cluster's tag."""
    state = world.region.state
    if resource in state.instances or resource in state.tables:
        world.ec2.create_tags(Resources=[resource], Tags=ACCOUNT_TAGS)


def _untag(world: World, name: str, resources: list[str], lasts: float) -> None:
    for one in resources:
        world.ec2.delete_tags(Resources=[one], Tags=[{"Key": NODE_TAG}])
        world.scheduler.after(lasts, lambda one=one: give_tag(world, one))  # type: ignore[misc]  # bound at once
    world.fired[name] += bool(resources)


def _node_loses_its_tag(world: World, rng: Random) -> None:
    some = rng.sample(members(world), k=min(1, len(members(world))))
    _untag(world, "a node loses its tag", some, rng.choice((100, 800, 1800)) * rng.uniform(0.5, 1.0))


def _all_lose_their_tags(world: World, rng: Random) -> None:
    _untag(world, "all nodes lose their tags", members(world), rng.uniform(60, 1200))


def _table_loses_its_tag(world: World, rng: Random) -> None:
    """Then the functions' roles may not write there."""
    table = rng.choice(world.table_ids)
    world.faults.arm(
        Kind.REFUSED, action="ec2:*Route", caller=OURS, about=table, code="UnauthorizedOperation"
    )
    lasts = rng.uniform(60, 400)
    _untag(world, "a table loses its tag", [table], lasts)
    world.scheduler.after(lasts, lambda: world.faults.disarm(Kind.REFUSED))


def _key_is_mistyped(world: World, rng: Random) -> None:
    """A stack update names a key that no node has; another mends it."""
    world.deploy(node_tag="podway:clutser")
    world.fired["the node tag's key is mistyped"] += 1
    world.scheduler.after(rng.uniform(60, 600), world.deploy)


def _new_table(world: World) -> str:
    vpc = world.checker.vpc
    tags = [{"ResourceType": "route-table", "Tags": ACCOUNT_TAGS}]
    made = world.ec2.create_route_table(VpcId=vpc, TagSpecifications=tags)["RouteTable"]["RouteTableId"]
    world.table_ids.append(made)
    return str(made)


def _steer(world: World, subnet: str, table: str) -> None:
    state = world.region.state
    association = next(one.id for one in state.associations.values() if one.subnet == subnet)
    if table in state.tables:
        world.ec2.replace_route_table_association(AssociationId=association, RouteTableId=table)


def _table_is_reassociated(world: World, rng: Random) -> None:
    """A subnet gets another table: one that is there, or a new one without any route."""
    subnet = rng.choice(world.subnet_ids)
    before = world.region.state.table_of(subnet).id
    others = [one for one in world.table_ids if one != before]
    _steer(world, subnet, rng.choice(others) if others and rng.random() < 0.5 else _new_table(world))
    world.fired["a route table is re-associated"] += 1
    if rng.random() < 0.5:
        world.scheduler.after(rng.uniform(60, 500), lambda: _steer(world, subnet, before))


def _table_is_deleted(world: World, rng: Random) -> None:
    """Its subnets get a new one first, or EC2 would not let it go."""
    table = rng.choice(world.table_ids)
    steered = world.region.state.subnets_of(table)
    heir = _new_table(world)
    for subnet in steered:
        _steer(world, subnet, heir)
    world.table_ids.remove(table)
    world.ec2.delete_route_table(RouteTableId=table)
    world.fired["a route table is deleted"] += 1


# What belongs to nobody, or is of a kind of its own


def _other_vpc(world: World, rng: Random) -> None:
    del rng
    vpc = world.ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = world.ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="us-west-2a")
    world.ec2.run_instances(
        ImageId="ami-1",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet["Subnet"]["SubnetId"],
        TagSpecifications=[{"ResourceType": "instance", "Tags": ACCOUNT_TAGS}],
    )
    world.fired["a tagged instance in another VPC"] += 1


def _efa_only(world: World, rng: Random) -> None:
    state = world.region.state
    plain = [node for node in members(world) if len(state.instances[node].interfaces) == 1]
    if plain:
        world.region.attach_efa_only(rng.choice(plain))
        world.fired["an EFA-only interface"] += 1


def _ipv6_only(world: World, rng: Random) -> None:
    del rng
    state, vpc = world.region.state, world.checker.vpc
    if any(one.ipv6_only for one in state.subnets.values()):
        return
    world.ec2.associate_vpc_cidr_block(VpcId=vpc, AmazonProvidedIpv6CidrBlock=True)
    block = next(one for one in state.vpcs[vpc].cidrs if one.version == 6)
    world.ec2.create_subnet(
        VpcId=vpc, Ipv6Native=True, Ipv6CidrBlock=str(block.at(64)), AvailabilityZone="us-west-2a"
    )
    world.fired["an IPv6-only subnet"] += 1


# Agents


def _silence(world: World, nodes: list[str], seconds: float) -> None:
    until = world.scheduler.now() + timedelta(seconds=seconds)
    for node in nodes:
        if node in world.agents:
            world.agents[node].silent_until = until
    world.busy_until = max(world.busy_until, until + timedelta(minutes=3))


def _silent_for(minutes: int) -> Callable[[World, Random], None]:
    def fall_silent(world: World, rng: Random) -> None:
        there = sorted(world.agents.keys() & set(members(world)))
        some = rng.sample(there, k=min(rng.choice((1, 1, 2, len(there))), len(there)))
        _silence(world, some, minutes * MINUTE)
        world.fired[silence(minutes)] += bool(some)

    return fall_silent


def silence(minutes: int) -> str:
    return f"agents are silent for {minutes} minutes"


ABSENCES: dict[str, Callable[[World, Random], None]] = {
    "EC2 leaves members out": _leaves_members_out,
    "EC2's answers are thinner": _answers_thinner,
    "EC2's pages end early": _pages_end_early,
    "a route's state is unheard of": _odd_route_state,
    "a route's origin is unheard of": _odd_origin,
    "an instance's state is unheard of": _odd_instance_state,
    "a table refuses with an odd code": _table_refuses,
    "alarms are refused with an odd code": _alarms_refused,
    "a zone is disrupted": _zone_disrupted,
    "EC2 does not find a node": _forgets_a_node,
    "EC2 forgets the cluster": _forgets_the_cluster,
    "a node loses its tag": _node_loses_its_tag,
    "all nodes lose their tags": _all_lose_their_tags,
    "a table loses its tag": _table_loses_its_tag,
    "the node tag's key is mistyped": _key_is_mistyped,
    "a route table is re-associated": _table_is_reassociated,
    "a route table is deleted": _table_is_deleted,
    "a tagged instance in another VPC": _other_vpc,
    "an EFA-only interface": _efa_only,
    "an IPv6-only subnet": _ipv6_only,
    **{silence(minutes): _silent_for(minutes) for minutes in (5, 13, 45)},
}
"""By the name under which it is counted: what it does. All are as likely."""

HIDING = (
    "EC2 leaves members out",
    "EC2's answers are thinner",
    "EC2's pages end early",
    "an instance's state is unheard of",
    "a route's origin is unheard of",
    "the pod CIDR is mistyped",
    "a zone is disrupted",
    "EC2 does not find a node",
    "EC2 forgets the cluster",
    "a node loses its tag",
    "all nodes lose their tags",
    "the node tag's key is mistyped",
)
"""Deeds after which members, or what is theirs, do not show. An empty store cannot know of them either."""
