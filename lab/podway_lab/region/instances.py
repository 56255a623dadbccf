"""The operations on instances: their life, and what the API shows of them.

The model calls them. States and their order: "Amazon EC2 instance state changes" of the EC2 user guide.
Listeners are told of every state, also of those that last no time at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from podway_lab.region.changes import InstanceStateChanged
from podway_lab.region.filters import Values, page, select
from podway_lab.region.interfaces import addresses, brief, create_interface, delete_interface
from podway_lab.region.operation import Answer, Operations, Request, shown_tags
from podway_lab.region.state import Instance, Subnet

INSTANCE_OPERATIONS = Operations()

_CODES = {
    "pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80,
}  # fmt: skip
_NEXT = {"pending": "running", "stopping": "stopped", "shutting-down": "terminated"}


def change_state(request: Request, identity: str, state: str, *, reason: str = "") -> Instance:
    """Put an instance into *state*, plan its next one, and tell the listeners."""
    before = request.state.instances[identity]
    after = replace(before, state=state, due=None, reason=reason or before.reason)
    if state == "pending" and before.state == "stopped":
        after = replace(after, launched=request.at)  # EC2's LaunchTime: when it "was last launched"
    if state in _NEXT:
        lasts = request.settings.lifecycle.get(state, 0.0)
        if lasts < math.inf:
            after = replace(after, due=request.at + timedelta(seconds=lasts))
    if state == "terminated":
        after = replace(after, terminated=request.at, interfaces=())
        for interface in before.interfaces:
            delete_interface(request, interface)
    request.state.instances[identity] = after
    restless = state in _NEXT or state == "terminated"
    request.state.restless = (
        request.state.restless | {identity} if restless else request.state.restless - {identity}
    )
    request.tell(InstanceStateChanged(identity, before.state, state, request.at, request.caller))
    return after


def due(request: Request) -> list[str]:
    """Instances whose state has lasted long enough, or that were terminated long enough ago."""
    return [identity for identity in sorted(request.state.restless) if _is_due(request, identity)]


def _is_due(request: Request, identity: str) -> bool:
    instance = request.state.instances[identity]
    if instance.terminated is not None:
        return request.at - instance.terminated > request.settings.terminated_visible
    return instance.due is not None and instance.due <= request.at


def settle(request: Request, identities: Iterable[str]) -> None:
    """Move each of these on to its next state, if it has one; forget the terminated."""
    state = request.state
    for identity in identities:
        instance = request.find(state.instances, "InvalidInstanceID", identity)
        if instance.state in _NEXT:
            change_state(request, identity, _NEXT[instance.state])
        elif instance.terminated is not None:
            del state.instances[identity]
            state.restless -= {identity}


@INSTANCE_OPERATIONS.models(
    "RunInstances",
    "ImageId",
    "InstanceType",
    "MinCount",
    "MaxCount",
    "SubnetId",
    "PrivateIpAddress",
    "NetworkInterfaces",
    "TagSpecifications",
    "IamInstanceProfile",
    "InstanceMarketOptions",
)
def run_instances(request: Request) -> Answer:
    """As many instances as MaxCount says and the subnet has addresses for, at least MinCount."""
    subnet, address = _place(request)
    count = request.given["MaxCount"]
    if address is not None and count > 1:
        raise request.refuse(
            "InvalidParameterCombination", "A private IP address is for a single instance only"
        )
    free = addresses(request, subnet, address)
    if len(free) < request.given["MinCount"]:
        raise request.refuse(
            "InsufficientFreeAddressesInSubnet", f"{subnet.id} has {len(free)} free addresses left"
        )
    reservation = request.state.new_id("r")
    return _reservation(request, [_launch(request, reservation, subnet, one) for one in free[:count]])


def _place(request: Request) -> tuple[Subnet, str | None]:
    """The subnet and the wanted address, said directly or of the first interface."""
    given = dict(request.given)
    interfaces = given.get("NetworkInterfaces", [])
    if len(interfaces) > 1:
        raise request.refuse("UnsupportedOperation", "The lab's instances have one interface")
    for interface in interfaces:
        unknown = interface.keys() - {"DeviceIndex", "SubnetId", "PrivateIpAddress"}
        if unknown:
            raise request.refuse(
                "UnsupportedOperation", f"The lab's interfaces have no {', '.join(sorted(unknown))}"
            )
        given |= interface
    if "SubnetId" not in given:
        raise request.refuse("VPCIdNotSpecified", "No default VPC for this user")
    subnet = request.find(request.state.subnets, "InvalidSubnetID", given["SubnetId"])
    return subnet, given.get("PrivateIpAddress")


def _launch(request: Request, reservation: str, subnet: Subnet, address: str) -> Instance:
    state = request.state
    identity = state.new_id("i")
    interface = create_interface(request, subnet, identity, address)
    profile = request.given.get("IamInstanceProfile", {})
    state.instances[identity] = Instance(
        id=identity,
        reservation=reservation,
        vpc=subnet.vpc,
        subnet=subnet.id,
        availability_zone=subnet.availability_zone,
        type=request.given.get("InstanceType", "m5.large"),
        image=request.given.get("ImageId", "ami-00000000000000000"),
        state="",
        launched=request.at,
        interfaces=(interface.id,),
        profile=profile.get("Name") or profile.get("Arn", "").rpartition("/")[2],
        spot=request.given.get("InstanceMarketOptions", {}).get("MarketType") == "spot",
        client_token=request.given.get("ClientToken", ""),
        tags=request.tags_for("instance"),
    )
    return change_state(request, identity, "pending")


def _reservation(request: Request, instances: list[Instance]) -> Answer:
    return {
        "ReservationId": instances[0].reservation,
        "OwnerId": request.settings.account,
        "Groups": [],
        "Instances": [_shown(instance, request) for instance in instances],
    }


@INSTANCE_OPERATIONS.models("StartInstances", "InstanceIds")
def start_instances(request: Request) -> Answer:
    """From stopped, with its address, interface and disk; a running one stays as it is."""
    instances = _named(request, may={"stopped", "running", "pending"}, verb="started")
    changes = [
        _moved(
            instance,
            change_state(request, instance.id, "pending") if instance.state == "stopped" else instance,
        )
        for instance in instances
    ]
    return {"StartingInstances": changes}


@INSTANCE_OPERATIONS.models("StopInstances", "InstanceIds", "Force")
def stop_instances(request: Request) -> Answer:
    """From running; a one-time Spot instance cannot be stopped."""
    instances = _named(request, may={"running", "stopping", "stopped"}, verb="stopped")
    for instance in instances:
        if instance.spot:
            raise request.refuse(
                "UnsupportedOperation",
                f"You can't stop the Spot Instance '{instance.id}' because it is associated with a "
                "one-time Spot Instance request. You can only stop Spot Instances associated with "
                "persistent Spot Instance requests.",
            )
    reason = f"User initiated ({request.at:%Y-%m-%d %H:%M:%S} GMT)"
    changes = [
        _moved(
            instance,
            change_state(request, instance.id, "stopping", reason=reason)
            if instance.state == "running"
            else instance,
        )
        for instance in instances
    ]
    return {"StoppingInstances": changes}


@INSTANCE_OPERATIONS.models("TerminateInstances", "InstanceIds")
def terminate_instances(request: Request) -> Answer:
    """From any state, as often as you like."""
    reason = f"User initiated ({request.at:%Y-%m-%d %H:%M:%S} GMT)"
    changes = []
    for instance in _named(request, may=set(_CODES), verb="terminated"):
        after = instance
        if instance.state not in {"shutting-down", "terminated"}:
            after = change_state(request, instance.id, "shutting-down", reason=reason)
        changes.append(_moved(instance, after))
    return {"TerminatingInstances": changes}


def _named(request: Request, *, may: set[str], verb: str) -> list[Instance]:
    """The instances that the request names: all of them or, if one cannot, none."""
    instances = request.named("InstanceIds", request.state.instances, "InvalidInstanceID")
    for instance in instances:
        if instance.state not in may:
            raise request.refuse(
                "IncorrectInstanceState",
                f"The instance '{instance.id}' is not in a state from which it can be {verb}.",
            )
    return instances


def _moved(before: Instance, after: Instance) -> dict[str, Any]:
    return {
        "InstanceId": before.id,
        "PreviousState": _shown_state(before.state),
        "CurrentState": _shown_state(after.state),
    }


def _shown_state(state: str) -> dict[str, Any]:
    return {"Code": _CODES[state], "Name": state}


def _filters(request: Request) -> Mapping[str, Values]:
    interfaces = request.state.interfaces
    return {
        "instance-id": lambda instance: [instance.id],
        "instance-state-name": lambda instance: [instance.state],
        "instance-type": lambda instance: [instance.type],
        "instance-lifecycle": lambda instance: ["spot"] if instance.spot else [],
        "vpc-id": lambda instance: [instance.vpc] if instance.interfaces else [],
        "subnet-id": lambda instance: [instance.subnet] if instance.interfaces else [],
        "availability-zone": lambda instance: [instance.availability_zone],
        "client-token": lambda instance: [instance.client_token],
        "reservation-id": lambda instance: [instance.reservation],
        "private-ip-address": lambda instance: [interfaces[i].address for i in instance.interfaces],
        "network-interface.network-interface-id": lambda instance: instance.interfaces,
        "source-dest-check": lambda instance: [
            str(interfaces[i].source_dest_check).lower() for i in instance.interfaces
        ],
    }


@INSTANCE_OPERATIONS.models("DescribeInstances", "InstanceIds", "Filters", "MaxResults", "NextToken")
def describe_instances(request: Request) -> Answer:
    """By reservation; a page holds so many instances. Terminated ones are listed for a while."""
    if request.given.get("InstanceIds") and "MaxResults" in request.given:
        raise request.refuse(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    unseen = request.state.unseen
    known = {name: one for name, one in request.state.instances.items() if not unseen & {name, "*"}}
    named = request.named("InstanceIds", known, "InvalidInstanceID")
    _check_zones(request, named)
    shown, more = page(request, select(request, named, _filters(request)))
    reservations: dict[str, list[Instance]] = {}
    for instance in shown:
        reservations.setdefault(instance.reservation, []).append(instance)
    return {
        "Reservations": [_reservation(request, instances) for instances in reservations.values()],
        **more,
    }


def _check_zones(request: Request, named: Iterable[Instance]) -> None:
    """During a zone's disruption the call fails without ids, and with ids of that zone (botocore's text).

    Which code it fails with is not documented: here that of an API that is overloaded or down.
    """
    disrupted = request.state.disrupted
    if not disrupted:
        return
    if not request.given.get("InstanceIds") or any(one.availability_zone in disrupted for one in named):
        raise request.refuse("Unavailable", "The service is unavailable. Please try again shortly.")


def _shown(instance: Instance, request: Request) -> dict[str, Any]:
    settings = request.settings
    shown: dict[str, Any] = {
        "InstanceId": instance.id,
        "ImageId": instance.image,
        "InstanceType": instance.type,
        "LaunchTime": instance.launched,
        "AmiLaunchIndex": 0,
        "Architecture": "x86_64",
        "ClientToken": instance.client_token,
        "Monitoring": {"State": "disabled"},
        "Placement": {"AvailabilityZone": instance.availability_zone, "GroupName": "", "Tenancy": "default"},
        "State": _shown_state(instance.state),
        "StateTransitionReason": instance.reason,
        "NetworkInterfaces": [],
        "SecurityGroups": [],
        "Tags": shown_tags(instance.tags),
    }
    if instance.spot:
        shown["InstanceLifecycle"] = "spot"
    if instance.profile:
        arn = f"arn:aws:iam::{settings.account}:instance-profile/{instance.profile}"
        shown["IamInstanceProfile"] = {"Arn": arn, "Id": "AIPA0000000000000000A"}
    if instance.interfaces:
        shown |= _shown_place(instance, request)
    return shown


def _shown_place(instance: Instance, request: Request) -> dict[str, Any]:
    """Where an instance is: addresses, interfaces, subnet and VPC. A terminated one has lost them."""
    interfaces = [request.state.interfaces[identity] for identity in instance.interfaces]
    primary = interfaces[0]
    host = f"ip-{primary.address.replace('.', '-')}.{request.settings.name}.compute.internal"
    return {
        "VpcId": instance.vpc,
        "SubnetId": instance.subnet,
        "PrivateIpAddress": primary.address,
        "PrivateDnsName": host,
        "SourceDestCheck": primary.source_dest_check,
        "NetworkInterfaces": [brief(interface, request) for interface in reversed(interfaces)],  # in no order
    }
