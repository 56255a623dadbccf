"""Sentences about what AWS and operators do to a cluster, and what must follow from it."""

from __future__ import annotations

import itertools
import re
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError
from podway.adapters.fast_items import CARDS
from podway.domain.addressing import Prefix

from podway_lab.lab import FUNCTIONS
from podway_lab.region.changes import Change, RouteWritten
from podway_lab.region.events import (
    Event,
    Stamp,
    rebalance_recommendation,
    scheduled_change,
    spot_interruption,
    terminate_hook,
)
from podway_lab.region.faults import Kind
from podway_lab.region.hooks import Action
from podway_lab.region.state import Route
from podway_lab.scenario.verbs import NotSo, says

if TYPE_CHECKING:
    from collections.abc import Callable

    from podway_lab.scenario.player import Player


@dataclass
class Noted:
    """What was so when something happened to a node, for the sentences that come after."""

    node: str = ""
    routes: tuple[tuple[str, str], ...] = ()
    """Table and destination of what led through the node and carried blocks of others."""
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often the functions have given a route another next hop since."""
    relayed_at_completion: dict[str, int] = field(default_factory=dict)
    """Blocks of others that a node still relayed when its group was told to go on."""
    listens: bool = False

    def hear(self, change: Change) -> None:
        """Count moves."""
        match change:
            case RouteWritten(before=Route() as before, after=Route() as after, caller=caller):
                if caller.startswith(FUNCTIONS) and before.target != after.target:
                    self.moved[change.table, str(change.destination)] += 1


def note(player: Player, node: str) -> None:
    """Remember what leads through *node* now."""
    lab = player.lab
    blocks = {prefix: lab.names[one.id] for one in lab.members() for prefix in one.prefixes}
    carrying = []
    for subnet in lab.subnets:
        routes = dict(lab.managed(subnet))
        for destination, hop in routes.items():
            inner = [one for one in routes if destination.contains(one) and one != destination]
            others = [
                block
                for block, owner in blocks.items()
                if owner != node
                and destination.contains(block)
                and not any(one.contains(block) for one in inner)
            ]
            if hop == node and others:
                carrying.append((lab.ids[f"rtb-{subnet}"], str(destination)))
    noted = player.noted
    noted.node, noted.routes = node, tuple(carrying)
    noted.moved.clear()
    if not noted.listens:
        noted.listens = True
        lab.ec2.subscribe(noted.hear)


_NUMBERS = itertools.count()
"""Of routes that somebody adds."""
GROUP, HOOK = "workers", "podway-terminate"


# ---- what happens to nodes --------------------------------------------------------------------------


@says(r"stop (?P<node>.+?)(?P<ended> and terminate it at once)?")
def _stop(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    instance, operator = player.lab.ids[node], player.lab.operator

    def deed() -> None:
        operator.stop_instances(InstanceIds=[instance])
        if match["ended"]:
            operator.terminate_instances(InstanceIds=[instance])

    return f"{node}: {player.provoke(f'{node} stopped', deed, node)}"


@says(r"start (?P<node>.+) again")
def _start_again(player: Player, match: re.Match[str]) -> str:
    player.lab.operator.start_instances(InstanceIds=[player.lab.ids[player.chosen(match["node"])]])
    return player.it


def _told(pattern: str, make: Callable[[Player, Stamp, str], Event]) -> None:
    @says(pattern)
    def tell(player: Player, match: re.Match[str]) -> str:
        node = player.chosen(match["node"])
        note(player, node)
        player.lab.pump.send(make(player, player.lab.pump.stamp(), player.lab.ids[node]))
        return node


def _zone(player: Player, instance: str) -> str:
    subnet = player.lab.subnet_of(player.lab.names[instance])
    return next(one.zone for one in player.lab.plan.subnets if one.name == subnet)


_told(
    r"Spot interruption of (?P<node>.+)",
    lambda player, stamp, one: spot_interruption(stamp, one, availability_zone=_zone(player, one)),
)
_told(r"rebalance of (?P<node>.+) is recommended", lambda _, stamp, one: rebalance_recommendation(stamp, one))
_told(
    r"maintenance of (?P<node>.+) is announced",
    lambda _, stamp, one: scheduled_change(
        stamp, [one], starts=stamp.at + timedelta(days=1), ends=stamp.at + timedelta(days=2)
    ),
)


@says(r"the group terminates (?P<node>.+)")
def _group_terminates(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    note(player, node)
    instance, token = player.lab.ids[node], str(uuid.uuid4())

    def completed(_: str) -> None:
        player.noted.relayed_at_completion[node] = player.relayed(node)
        end = player.lab.operator.terminate_instances
        threading.Thread(target=end, kwargs={"InstanceIds": [instance]}, daemon=True).start()

    player.lab.server.actions.begin(Action(GROUP, HOOK, token, instance, completed))
    event = terminate_hook(player.lab.pump.stamp(), instance, group=GROUP, hook=HOOK, token=token)
    player.lab.pump.send(event)
    return node


@says(r"the group let go of (?P<node>.+) after its routes had left")
def _let_go(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    if node not in player.noted.relayed_at_completion:
        raise NotSo(f"the group still waits with {node}")
    if relayed := player.noted.relayed_at_completion[node]:
        raise NotSo(f"{node} still relayed {relayed} blocks when the group was told to go on")
    return f"{node}: the hook was completed when it relayed nothing"


# ---- what follows -----------------------------------------------------------------------------------


@says(r"nothing is relayed through (?P<node>.+)")
def _relays_nothing(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    if relayed := player.relayed(node):
        raise NotSo(f"{node} relays {relayed} blocks of others")
    return node


@says(r"each of its routes moved once")
def _moved_once(player: Player, _: re.Match[str]) -> str:
    """Of those that carried blocks of others when something happened to the node.

    A call that sets what stands already moves nothing: a reconcile that was on its way may make one.
    """
    noted = player.noted
    moved = noted.moved
    wrong = [
        f"{cidr} in {table}: {moved[table, cidr]} times"
        for table, cidr in noted.routes
        if moved[table, cidr] != 1
    ]
    if wrong or not noted.routes:
        raise NotSo(f"{noted.node}: {', '.join(wrong) or 'no route carried blocks of others'}")
    return f"{len(noted.routes)} routes of {noted.node}"


@says(r"failovers took at most (?P<waves>\d+) waves, and (?P<calls>\d+) calls beyond their routes")
def _frugal(player: Player, match: re.Match[str]) -> str:
    """Their routes are those that carried blocks of others through the dead node, summed over the tables."""
    if not player.handled:
        raise NotSo("no failover function moved a route")
    for one in player.handled:
        if one.waves > int(match["waves"]) or one.calls > one.carrying + int(match["calls"]):
            raise NotSo(f"{one.what}: {one.waves} waves, {one.calls} calls for {one.carrying} routes")
    return ", ".join(f"{one.waves} waves, {one.calls} calls for {one.carrying}" for one in player.handled)


@says(r"the failover function is cold")
def _cold(player: Player, _: re.Match[str]) -> str:
    player.lab.delivery.chill("FailoverFunction")
    return "" if player.lab.deployed else "its clients and use case are built anew"


@says(r"the queue of hints goes away")
def _queue_away(player: Player, _: re.Match[str]) -> str:
    player.lab.ec2.faults.arm(Kind.BROKEN, action="sqs:ReceiveMessage")
    return "no reconcile is woken"


@says(r"the queue of hints comes back")
def _queue_back(player: Player, _: re.Match[str]) -> str:
    player.lab.ec2.faults.disarm(Kind.BROKEN)
    return ""


@says(r"all is quiet")
def _quiet(player: Player, _: re.Match[str]) -> str:
    if not player.lab.delivery.settle(1):
        raise NotSo("functions are still at work")
    return ""


@says(r"events were doubled and delayed")
def _mischief(player: Player, _: re.Match[str]) -> str:
    fired = player.lab.delivery.fired
    if not (fired["duplicate"] and fired["delay"]):
        raise NotSo(f"{fired['duplicate']} were doubled, {fired['delay']} delayed")
    return f"{fired['duplicate']} doubled, {fired['delay']} delayed"


# ---- routes by hand ---------------------------------------------------------------------------------


@says(r"somebody points the anchor of (?P<owner>\S+) in the table of (?P<subnet>\S+) at (?P<node>.+)")
def _points(player: Player, match: re.Match[str]) -> str:
    lab, node = player.lab, player.chosen(match["node"])
    (interface,) = lab.ec2.state.instances[lab.ids[node]].interfaces
    lab.operator.replace_route(
        RouteTableId=lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=_anchor(player, match["owner"]),
        NetworkInterfaceId=interface,
    )
    return f"{_anchor(player, match['owner'])} to {node}"


@says(r"somebody deletes the anchor of (?P<owner>\S+) from the table of (?P<subnet>\S+)")
def _deletes(player: Player, match: re.Match[str]) -> str:
    player.lab.operator.delete_route(
        RouteTableId=player.lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=_anchor(player, match["owner"]),
    )
    return _anchor(player, match["owner"])


@says(r"somebody adds (?P<count>\d+) routes? to the table of (?P<subnet>\S+)")
def _adds(player: Player, match: re.Match[str]) -> str:
    table = player.lab.ids[f"rtb-{match['subnet']}"]
    for _ in range(int(match["count"])):
        player.lab.operator.create_route(
            RouteTableId=table,
            DestinationCidrBlock=f"192.168.{100 + next(_NUMBERS)}.0/24",
            GatewayId=_gateway(player),
        )
    return f"to {table}"


@says(r"somebody adds a route for (?P<cidr>\S+) to the table of (?P<subnet>\S+)")
def _adds_one(player: Player, match: re.Match[str]) -> str:
    player.lab.operator.create_route(
        RouteTableId=player.lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=match["cidr"],
        GatewayId=_gateway(player),
    )
    return ""


@says(r"the route for (?P<cidr>\S+) in the table of (?P<subnet>\S+) is as it was made")
def _untouched(player: Player, match: re.Match[str]) -> str:
    routes = player.lab.ec2.state.tables[player.lab.ids[f"rtb-{match['subnet']}"]].routes
    found = routes.get(Prefix.parse(match["cidr"]))
    if found is None or found.target.id != _gateway(player):
        raise NotSo(f"it is {found}")
    return ""


@says(r"the anchor of (?P<owner>\S+) in the table of (?P<subnet>\S+) leads to a node of its own")
def _anchored(player: Player, match: re.Match[str]) -> str:
    routes = {str(one): hop for one, hop in player.lab.managed(match["subnet"])}
    hop = routes.get(_anchor(player, match["owner"]), "nobody")
    if hop not in player.lab.nodes(match["owner"]):
        raise NotSo(f"it leads to {hop}")
    return f"to {hop}"


def _anchor(player: Player, owner: str) -> str:
    (supernet,) = player.lab.supernets(owner)
    return str(supernet)


def _gateway(player: Player) -> str:
    """The VPC's internet gateway; made and attached if no route leads to one."""
    state, operator = player.lab.ec2.state, player.lab.operator
    for table in state.tables.values():
        for route in table.routes.values():
            if route.target.id.startswith("igw-"):
                return str(route.target.id)
    made = str(operator.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
    operator.attach_internet_gateway(InternetGatewayId=made, VpcId=next(iter(state.vpcs)))
    return made


@says(r"the table of (?P<subnet>\S+) holds at most (?P<count>\d+) managed routes")
def _holds(player: Player, match: re.Match[str]) -> str:
    count = len(list(player.lab.managed(match["subnet"])))
    if count > int(match["count"]):
        raise NotSo(f"it holds {count}")
    return f"{count} of them"


# ---- who may write what -----------------------------------------------------------------------------


@says(r"(?P<node>\S+) forges the item of (?P<victim>\S+): it is refused")
def _forges(player: Player, match: re.Match[str]) -> str:
    identities, ids = player.lab.identities, player.lab.ids
    table = _as_instance(player, match["node"])
    victim = identities.instance(ids[match["victim"]])
    forged = {"pk": victim.user_id, "sk": "agent", "reports": "agents", "suspecting": True}
    refused = [_refused(lambda: table.put_item(Item=forged), "its item")]
    refused.append(_refused(lambda: table.put_item(Item={"pk": CARDS, "sk": "x"}), "a card"))
    return f"as {identities.instance(ids[match['node']]).user_id}: {', '.join(refused)} refused"


def _as_instance(player: Player, node: str) -> Any:
    identity = player.lab.identities.instance(player.lab.ids[node])
    session = boto3.Session(
        region_name=player.lab.ec2.settings.name,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret,
        aws_session_token=identity.token,
    )
    resource: Any = session.resource("dynamodb", endpoint_url=player.lab.server.url)
    return resource.Table(player.lab.region.table)


def _refused(write: Callable[[], object], what: str) -> str:
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return what
        raise
    raise NotSo(f"{what} was written")


# ---- the end ----------------------------------------------------------------------------------------


@says(r"release the cluster")
def _release(player: Player, _: re.Match[str]) -> str:
    done = player.lab.podway.release(patience=timedelta(seconds=30))
    if not done.is_complete:
        raise NotSo(f"left: {done}")
    return f"{len(done.deleted)} routes deleted"


@says(r"no managed route is left")
def _nothing_left(player: Player, _: re.Match[str]) -> str:
    left = {one: [str(cidr) for cidr, _ in player.lab.managed(one)] for one in player.lab.subnets}
    if any(left.values()):
        raise NotSo(str(left))
    return ""


@says(r"the cluster is managed again")
def _managed_again(player: Player, _: re.Match[str]) -> str:
    if not player.lab.podway.resume():
        raise NotSo("it had not been released")
    return ""
