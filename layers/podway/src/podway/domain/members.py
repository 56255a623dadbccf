"""Who belongs to the cluster: what EC2 says of instances, and what we remember of nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.model import ForwarderPreference
from podway.domain.signals import InstanceState


@dataclass(frozen=True, slots=True)
class Instance:
    """A tagged instance as EC2 describes it; ``network_interface`` is its primary one."""

    id: str
    state: InstanceState
    subnet: str
    network_interface: str
    address: str
    source_dest_check: bool = True
    forwarder: ForwarderPreference = ForwarderPreference.ALLOW
    spot: bool = False
    capacity: float = 1.0
    launched: datetime | None = None
    """When it was started last."""


@dataclass(frozen=True, slots=True)
class HeldBlock:
    """A block of a node; ``since`` is the generation of the subnet's map in which it appeared.

    ``ready`` means handed out: covered in every table and known to its forwarders.
    """

    prefix: Prefix
    since: int
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """What we remember of a node.

    ``gone_at`` starts the rest (quarantine) of its blocks. ``former_interfaces`` are interfaces that it
    had before and that routes of ours still lead to.
    """

    id: str
    subnet: str
    network_interface: str
    address: str
    blocks: tuple[HeldBlock, ...] = ()
    gone_at: datetime | None = None
    former_interfaces: tuple[str, ...] = ()

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Its interface and the former ones: a recorded route to any of them is ours."""
        return (self.network_interface, *self.former_interfaces)

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """The prefixes of its blocks."""
        return tuple(block.prefix for block in self.blocks)


@dataclass(frozen=True, slots=True)
class Roll:
    """Members after looking at EC2: who is here, whose blocks rest, who is forgotten."""

    present: tuple[Member, ...]
    resting: tuple[Member, ...]
    forgotten: tuple[str, ...]


def call_roll(
    remembered: tuple[Member, ...],
    instances: tuple[Instance, ...],
    *,
    now: datetime,
    quarantine: timedelta,
    still_targeted: frozenset[str] = frozenset(),
) -> Roll:
    """Who is a member now.

    A stopped instance keeps its block: it may start again with what it has on disk. A
    terminated or vanished one is gone; its blocks rest for *quarantine* and for as long as a
    route still targets its interface (*still_targeted*), and only then is it forgotten. A node
    that comes back on another subnet or interface under its old id starts anew.
    """
    here = {i.id: i for i in instances if i.state is not InstanceState.TERMINATED and i.network_interface}
    present, resting, forgotten = [], [], []
    known = {member.id: member for member in remembered}
    for identity in sorted(here.keys() | known.keys()):
        instance, member = here.get(identity), known.get(identity)
        if instance is not None:
            present.append(_seen(member, instance, still_targeted))
        elif member is not None:
            gone_at = member.gone_at or now
            if now - gone_at >= quarantine and not still_targeted.intersection(member.interfaces):
                forgotten.append(identity)
            else:
                resting.append(replace(member, gone_at=gone_at))
    return Roll(tuple(present), tuple(resting), tuple(forgotten))


def _seen(member: Member | None, instance: Instance, still_targeted: frozenset[str]) -> Member:
    if member is None or member.subnet != instance.subnet:
        return Member(instance.id, instance.subnet, instance.network_interface, instance.address)
    former = still_targeted.intersection(member.interfaces) - {instance.network_interface}
    return replace(
        member,
        network_interface=instance.network_interface,
        address=instance.address,
        gone_at=None,
        former_interfaces=tuple(sorted(former)),
    )
