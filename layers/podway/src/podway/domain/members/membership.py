"""Who belongs to the cluster: what EC2 says of instances, and what we remember of nodes.

`app.observe` asks, for reconcile and for what operators are shown. Absence is not an end: a member that a
read leaves out keeps what it has until EC2 says that it has ended.

    EC2 says of a member                 it is
    listed, with the tag                 present
    terminated                           ended: its blocks are quarantined, then it is forgotten
    runs, but without the tag            a stray
    nothing, or in words we do not know  a stray
    not that, and an operator gave it up ended
    NotFound by its id                   a stray; ended once EC2 has said so for GONE_AFTER and its agent is
                                         silent, unless so many are missing that EC2 is the likelier fault

A *stray* is present: its routes, blocks, card and place in the map stay, and it gets nothing new. Others
relieve one that has lost its tag of what it relays, unless a mass is missing. One of whom EC2 says nothing is
relieved only on evidence against it (`domain.health.freeze.keep_routes`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from podway.domain.inventory import FoundById, Instance, Member
from podway.domain.members.cluster import SILENCE
from podway.domain.signals import InstanceState

NOT_SHOWN = InstanceState.read("not shown")
"""State of what EC2 does not show. That it would run is not said: evidence that it does not goes on."""
GONE_AFTER = timedelta(minutes=5)
"""How long EC2 must go on saying NotFound before a member has ended."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Members after looking at EC2: who is here, whose blocks are quarantined, who is forgotten."""

    present: tuple[Member, ...]
    quarantined: tuple[Member, ...]
    forgotten: tuple[str, ...]
    instances: Mapping[str, Instance] = field(default_factory=dict)
    """What counts as said of each present member; of a stray that EC2 does not show, what we remember."""
    strays: Mapping[str, str] = field(default_factory=dict)
    """Present members that do not show as such, and why not."""
    is_mass_missing: bool = False
    """More than half of a subnet or of the cluster are strays: none of them ends by what EC2 does not say."""

    @property
    def shown(self) -> tuple[Instance, ...]:
        """Present members that show as such, whether EC2 listed them or was asked by id."""
        return tuple(one for node, one in self.instances.items() if node not in self.strays)

    unsaid: frozenset[str] = frozenset()
    """The strays of whom EC2 says nothing, or nothing that is understood."""

    @property
    def missing_in_a_mass(self) -> frozenset[str]:
        """The strays, if there are so many that others must not relieve them."""
        return frozenset(self.strays) if self.is_mass_missing else frozenset()

    @property
    def warnings(self) -> list[str]:
        """The strays by name, and what follows."""
        named = [
            f"{node} {why}: it keeps what it has and gets nothing new" for node, why in self.strays.items()
        ]
        many = "more than half of a subnet or of the cluster is missing: nothing is taken from those missing"
        return [many, *named] if self.is_mass_missing else named


def membership(
    remembered: Iterable[Member],
    instances: Iterable[Instance],
    *,
    now: datetime,
    quarantine: timedelta,
    still_targeted: frozenset[str] = frozenset(),
    found: FoundById | None = None,
    heard: Mapping[str, datetime] | None = None,
) -> Membership:
    """Who is a member now, by what EC2 lists and what it says of those that the list leaves out (*found*).

    A stopped instance keeps its block: it may start again with what it has on disk. What an ended one
    held rests for *quarantine* and for as long as a route still targets its interface (*still_targeted*), and
    only then is it forgotten. A node that comes back on another subnet or interface under its old id starts
    anew. *heard* is when each agent last wrote.
    """
    found = found or FoundById()
    listed = {one.id: one for one in instances}
    shown = {**{one.id: one for one in found.instances}, **listed}
    known = {member.id: member for member in remembered}
    present: dict[str, Member] = {}
    strays: dict[str, str] = {}
    ended: dict[str, datetime] = {}
    for identity in sorted(listed.keys() | known.keys()):
        instance, member = shown.get(identity), known.get(identity)
        if instance is not None and not (_is_terminated(instance) or _oddity(instance)):
            present[identity] = _seen(member, instance, still_targeted)
        elif member is None:
            continue
        elif (instance is not None and _is_terminated(instance)) or member.gone_at or member.is_given_up:
            ended[identity] = member.gone_at or now
        else:
            present[identity] = _missing(member, instance, found, now=now)
            strays[identity] = _why_stray(identity, instance, found)
    is_mass = _is_mass(present.values(), strays)
    for identity in [] if is_mass else _vanished(present, found, now=now, heard=heard or {}):
        ended[identity] = now
        del present[identity], strays[identity]
    resting = [replace(known[node], gone_at=at, missing_since=None) for node, at in sorted(ended.items())]
    over = {
        member.id
        for member in resting
        if now - ended[member.id] >= quarantine and not still_targeted.intersection(member.interfaces)
    }
    return Membership(
        present=tuple(present.values()),
        quarantined=tuple(member for member in resting if member.id not in over),
        forgotten=tuple(sorted(over)),
        instances={node: _facts(member, shown.get(node)) for node, member in present.items()},
        strays=strays,
        is_mass_missing=is_mass,
        unsaid=frozenset(node for node in strays if not _is_untagged(shown.get(node))),
    )


def _is_terminated(instance: Instance) -> bool:
    return instance.state is InstanceState.TERMINATED


def _is_untagged(instance: Instance | None) -> bool:
    """Whether the one thing that is odd about an instance is that it does not carry the tag."""
    return instance is not None and not instance.tagged and not _oddity(replace(instance, tagged=True))


def _missing(member: Member, instance: Instance | None, found: FoundById, *, now: datetime) -> Member:
    """A stray. Since when EC2 says NotFound goes on over answers that say nothing, and ends when it shows."""
    if instance is not None:
        return replace(member, missing_since=None)
    since = member.missing_since or now if member.id in found.not_found else member.missing_since
    return replace(member, missing_since=since)


def _oddity(instance: Instance) -> str:
    """Why an instance that is shown cannot be taken for a member as it is; empty when it can."""
    if not instance.tagged:
        return "has lost the cluster's tag"
    if not instance.state.is_known:
        return f"is in a state that is unknown ({instance.state})"
    if not instance.subnet or not instance.network_interface or not instance.address:
        return "shows no primary interface with an address"
    return ""


def _why_stray(identity: str, instance: Instance | None, found: FoundById) -> str:
    if instance is not None:
        return _oddity(instance)
    if identity in found.not_found:
        return "is not found by EC2"
    return "is left out by EC2, which says nothing of it"


def _seen(member: Member | None, instance: Instance, still_targeted: frozenset[str]) -> Member:
    if member is None or member.subnet != instance.subnet:
        anew = Member(instance.id, instance.subnet, instance.network_interface, instance.address)
        return anew if instance.capacity is None else replace(anew, capacity=instance.capacity)
    former = still_targeted.intersection(member.interfaces) - {instance.network_interface}
    return replace(
        member,
        network_interface=instance.network_interface,
        address=instance.address,
        gone_at=None,
        missing_since=None,
        is_given_up=False,
        former_interfaces=tuple(sorted(former)),
        capacity=member.capacity if instance.capacity is None else instance.capacity,
    )


def _is_mass(present: Collection[Member], strays: Collection[str]) -> bool:
    """Whether more than half of some subnet's members, or of all, are strays."""
    sizes = Counter(member.subnet for member in present)
    missing = Counter(member.subnet for member in present if member.id in strays)
    return 2 * missing.total() > sizes.total() or any(2 * missing[one] > sizes[one] for one in sizes)


def _vanished(
    present: Mapping[str, Member], found: FoundById, *, now: datetime, heard: Mapping[str, datetime]
) -> list[str]:
    """Members that EC2 has not found for long enough, and whose agents are silent."""
    return [
        node
        for node, member in present.items()
        if node in found.not_found
        and member.missing_since is not None
        and now - member.missing_since >= GONE_AFTER
        and (node not in heard or now - heard[node] > SILENCE)
    ]


def _facts(member: Member, instance: Instance | None) -> Instance:
    """The instance as shown. What it does not show is as we remember it, and its state is not known."""
    if instance is None:
        return Instance(
            member.id,
            NOT_SHOWN,
            member.subnet,
            member.network_interface,
            member.address,
            source_dest_check=False,
            tagged=False,
        )
    return replace(
        instance,
        subnet=instance.subnet or member.subnet,
        network_interface=instance.network_interface or member.network_interface,
        address=instance.address or member.address,
    )
