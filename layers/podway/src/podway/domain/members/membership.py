"""Who belongs to the cluster: what EC2 says of instances, and what we remember of nodes.

Reconcile and the operator's commands ask first of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from podway.domain.inventory import Instance, Member
from podway.domain.signals import InstanceState


@dataclass(frozen=True, slots=True)
class Membership:
    """Members after looking at EC2: who is here, whose blocks are quarantined, who is forgotten."""

    present: tuple[Member, ...]
    quarantined: tuple[Member, ...]
    forgotten: tuple[str, ...]


def membership(
    remembered: tuple[Member, ...],
    instances: tuple[Instance, ...],
    *,
    now: datetime,
    quarantine: timedelta,
    still_targeted: frozenset[str] = frozenset(),
) -> Membership:
    """Who is a member now.

    A stopped instance keeps its blocks: it may start again with what it has on disk. A terminated or
    vanished one is gone. Its blocks stay in *quarantine*, and longer while a route still targets its
    interface (*still_targeted*); then it is forgotten. A node that comes back in another subnet under its
    old id starts anew.
    """
    here = {i.id: i for i in instances if i.state is not InstanceState.TERMINATED and i.network_interface}
    present, quarantined, forgotten = [], [], []
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
                quarantined.append(replace(member, gone_at=gone_at))
    return Membership(tuple(present), tuple(quarantined), tuple(forgotten))


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
