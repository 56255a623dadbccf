"""The operations on network interfaces, and on the source/dest check that they share with their instances.

The model calls them; running and terminating instances make and delete interfaces.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from podway_lab.region.changes import InterfaceCreated, InterfaceDeleted, SourceDestCheckChanged
from podway_lab.region.filters import Values, page, select
from podway_lab.region.operation import Answer, Operations, Request, shown_tags
from podway_lab.region.state import Instance, Interface, Subnet

INTERFACE_OPERATIONS = Operations()

_FIRST_FREE = 4
"""The network address, the router, the resolver and one more belong to AWS, like the last one."""


def create_interface(request: Request, subnet: Subnet, instance: str, address: str) -> Interface:
    """Make the interface of a new instance, with a free address of the subnet."""
    state = request.state
    identity = state.new_id("eni")
    digest = hashlib.sha256(identity.encode()).hexdigest()
    interface = Interface(
        id=identity,
        vpc=subnet.vpc,
        subnet=subnet.id,
        address=address,
        mac="02:" + ":".join(digest[at : at + 2] for at in range(0, 10, 2)),
        created=request.at,
        instance=instance,
        attachment=f"eni-attach-0{digest[:16]}",
        tags=request.tags_for("network-interface"),
    )
    state.interfaces[identity] = interface
    request.tell(
        InterfaceCreated(
            identity, instance, subnet.id, interface.address, interface.mac, request.at, request.caller
        )
    )
    return interface


def attach_efa_only(request: Request, instance: Instance) -> Interface:
    """A second network card's interface: device index 0 there, and no address ("EFA-only interfaces")."""
    subnet = request.state.subnets[instance.subnet]
    made = replace(create_interface(request, subnet, instance.id, ""), network_card=1)
    request.state.interfaces[made.id] = made
    request.state.instances[instance.id] = replace(instance, interfaces=(*instance.interfaces, made.id))
    return made


def addresses(request: Request, subnet: Subnet, wanted: str | None) -> list[str]:
    """The addresses that new interfaces may take, lowest first; with *wanted*, that one alone.

    Raises InvalidParameterValue for an address that is not the subnet's to give, InvalidIPAddress.InUse
    for a taken one.
    """
    network = ipaddress.ip_network(str(subnet.cidr))
    taken = _taken(request, subnet)
    if wanted is None:
        numbers = range(_FIRST_FREE, network.num_addresses - 1)
        return [address for address in (str(network[number]) for number in numbers) if address not in taken]
    try:
        number = int(ipaddress.ip_address(wanted)) - int(network.network_address)
    except ValueError:
        number = -1
    if not _FIRST_FREE <= number < network.num_addresses - 1:
        raise request.refuse(
            "InvalidParameterValue", f"Address {wanted} is not available in subnet {subnet.id}"
        )
    if wanted in taken:
        raise request.refuse("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
    return [wanted]


def count_free(request: Request, subnet: Subnet) -> int:
    """How many addresses *subnet* can still give away."""
    return 0 if subnet.ipv6_only else subnet.cidr.size - _FIRST_FREE - 1 - len(_taken(request, subnet))


def _taken(request: Request, subnet: Subnet) -> set[str]:
    interfaces = request.state.interfaces.values()
    return {interface.address for interface in interfaces if interface.subnet == subnet.id}


def delete_interface(request: Request, identity: str) -> None:
    """Delete an interface: its routes become black holes, and its address is free again."""
    interface = request.state.interfaces.pop(identity)
    request.tell(InterfaceDeleted(identity, interface.instance, request.at, request.caller))


def set_source_dest_check(request: Request, interface: Interface) -> None:
    """Set what the request says. Raises MissingParameter when it says nothing about the check."""
    try:
        enabled = bool(request.given["SourceDestCheck"]["Value"])
    except KeyError:
        raise request.refuse("InvalidParameterCombination", "No attributes specified.") from None
    if enabled == interface.source_dest_check:
        return
    request.state.interfaces[interface.id] = replace(interface, source_dest_check=enabled)
    request.tell(
        SourceDestCheckChanged(interface.id, interface.instance, enabled, request.at, request.caller)
    )


@INTERFACE_OPERATIONS.models("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", "SourceDestCheck")
def modify_network_interface_attribute(request: Request) -> Answer:
    interface = request.find(
        request.state.interfaces, "InvalidNetworkInterfaceID", request.given["NetworkInterfaceId"]
    )
    set_source_dest_check(request, interface)
    return {}


@INTERFACE_OPERATIONS.models("ModifyInstanceAttribute", "InstanceId", "SourceDestCheck")
def modify_instance_attribute(request: Request) -> Answer:
    """Only for an instance with one interface (botocore's text of SourceDestCheck)."""
    state = request.state
    instance = request.find(state.instances, "InvalidInstanceID", request.given["InstanceId"])
    if len(instance.interfaces) != 1:
        raise request.refuse(
            "InvalidInstanceID", f"'{instance.id}' has {len(instance.interfaces)} interfaces, not one"
        )
    set_source_dest_check(request, state.interfaces[instance.interfaces[0]])
    return {}


_FILTERS: Mapping[str, Values] = {
    "network-interface-id": lambda interface: [interface.id],
    "vpc-id": lambda interface: [interface.vpc],
    "subnet-id": lambda interface: [interface.subnet],
    "private-ip-address": lambda interface: [interface.address],
    "addresses.private-ip-address": lambda interface: [interface.address],
    "mac-address": lambda interface: [interface.mac],
    "attachment.instance-id": lambda interface: [interface.instance] if interface.instance else [],
    "attachment.status": lambda interface: ["attached"] if interface.instance else [],
    "source-dest-check": lambda interface: [str(interface.source_dest_check).lower()],
    "status": lambda interface: ["in-use" if interface.instance else "available"],
}


@INTERFACE_OPERATIONS.models(
    "DescribeNetworkInterfaces", "NetworkInterfaceIds", "Filters", "MaxResults", "NextToken"
)
def describe_network_interfaces(request: Request) -> Answer:
    named = request.named("NetworkInterfaceIds", request.state.interfaces, "InvalidNetworkInterfaceID")
    shown, more = page(request, select(request, named, _FILTERS))
    return {"NetworkInterfaces": [_shown(interface, request) for interface in shown], **more}


def _shown(interface: Interface, request: Request) -> dict[str, Any]:
    answer = brief(interface, request) | {
        "AvailabilityZone": request.state.subnets[interface.subnet].availability_zone,
        "RequesterManaged": False,
        "TagSet": shown_tags(interface.tags),
    }
    if interface.instance:
        answer["Attachment"]["InstanceId"] = interface.instance
        answer["Attachment"]["InstanceOwnerId"] = request.settings.account
    return answer


def brief(interface: Interface, request: Request) -> dict[str, Any]:
    """An interface as it is listed within its instance."""
    shown: dict[str, Any] = {
        "NetworkInterfaceId": interface.id,
        "VpcId": interface.vpc,
        "SubnetId": interface.subnet,
        "OwnerId": request.settings.account,
        "Description": "",
        "InterfaceType": "interface",
        "MacAddress": interface.mac,
        "Status": "in-use" if interface.instance else "available",
        "SourceDestCheck": interface.source_dest_check,
        "Groups": [],
        "Ipv6Addresses": [],
    }
    if interface.address:
        shown["PrivateIpAddress"] = interface.address
        shown["PrivateIpAddresses"] = [{"Primary": True, "PrivateIpAddress": interface.address}]
    else:
        shown["InterfaceType"] = "efa-only"
    if interface.instance:
        shown["Attachment"] = {
            "AttachmentId": interface.attachment,
            "AttachTime": interface.created,
            "DeleteOnTermination": interface.delete_on_termination,
            "DeviceIndex": 0,
            "NetworkCardIndex": interface.network_card,
            "Status": "attached",
        }
    return shown
