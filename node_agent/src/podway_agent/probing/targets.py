"""What this node has to probe, by the snapshot alone. Pure. Dataplane asks, prober probes.

Three echo requests make a round:
- one *relayed*: sent to the forwarder's hardware address, but meant for a third node, which answers
  straight back;
- one to the third node *directly*: it differs from the relayed one in nothing but the forwarder;
- one to the *forwarder itself*.

All come from the node's own probe address, so that a security group that passes nodes but drops pods is
noticed. Kernels answer all three, so an agent that is frozen, or gone, raises no suspicion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from zlib import crc32

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot, SnapshotMember

from podway_agent.kernel.membership import probe_address

MOST_FORWARDERS = 16
"""A node probes through no more: one mark and one table each. The hash gives it three or so."""
THIRDS = 4
"""Third nodes that take turns: at least three for every forwarder, which cannot be its own."""


@dataclass(frozen=True)
class Watched:
    """A forwarder to probe through: by the *slot*'s mark and table, whose default route is by *gateway*."""

    node: str
    slot: int
    gateway: Prefix
    """Its own address in the subnet, full length."""
    itself: Prefix | None
    """Its probe address; None while it has no block."""


@dataclass(frozen=True)
class Third:
    """A node that answers probes relayed to it."""

    node: str
    address: Prefix


@dataclass(frozen=True)
class ProbeTargets:
    """What to probe; nothing while *source* is None."""

    holds: tuple[Prefix, ...] = ()
    """Probe addresses that this node must hold: other nodes probe it, too."""
    source: Prefix | None = None
    watched: tuple[Watched, ...] = ()
    thirds: tuple[Third, ...] = ()


def targets_of(
    snapshot: Snapshot, instance: str, *, before: ProbeTargets, suspects: Collection[str]
) -> ProbeTargets:
    """What *instance* has to probe now.

    It keeps probing the nodes that it suspects, though no route leads there any more: only it can take
    its suspicion back. Slots stay with their forwarders, so that no probe is sent by another's path.
    """
    members = {member.id: member for member in snapshot.members if member.state != "gone"}
    me = members.get(instance)
    if me is None:
        return ProbeTargets()
    version = ip_address(me.address).version
    holds = tuple(probe_address(block.cidr) for block in sorted(me.blocks, key=lambda block: block.cidr))
    source = _ready_address(me, version)
    told = {one.forwarder for one in snapshot.watches if instance in one.watchers}
    watched = _watched(
        (members[node] for node in sorted(told | set(suspects)) if node in members and node != instance),
        version,
        before,
    )
    if source is None or not watched:
        return ProbeTargets(holds)
    return ProbeTargets(holds, source, watched, _thirds(members.values(), instance, version))


def _ready_address(member: SnapshotMember, version: int) -> Prefix | None:
    """The probe address that other nodes can reach."""
    ready = (block.cidr for block in member.blocks if block.ready and block.cidr.version == version)
    lowest = min(ready, default=None)
    return None if lowest is None else probe_address(lowest)


def _watched(forwarders: Iterable[SnapshotMember], version: int, before: ProbeTargets) -> tuple[Watched, ...]:
    able = [one for one in forwarders if ip_address(one.address).version == version]
    kept = {one.node: one.slot for one in before.watched}
    free = iter(sorted(set(range(MOST_FORWARDERS)) - {kept[one.id] for one in able if one.id in kept}))
    found = []
    for member in able:
        slot = kept[member.id] if member.id in kept else next(free, None)
        if slot is not None:
            gateway = Prefix.of_address(member.address)
            found.append(Watched(member.id, slot, gateway, _ready_address(member, version)))
    return tuple(found)


def _thirds(members: Iterable[SnapshotMember], instance: str, version: int) -> tuple[Third, ...]:
    """A few ready siblings by rendezvous hash: each prober has others, and keeps them."""
    able = [
        Third(member.id, address)
        for member in members
        if member.state == "ready" and member.id != instance and (address := _ready_address(member, version))
    ]
    able.sort(key=lambda one: (crc32(f"{instance} {one.node}".encode()), one.node))
    return tuple(able[:THIRDS])
