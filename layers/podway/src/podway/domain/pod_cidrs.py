"""Which pod CIDRs count, by what an operator has set and what is there. Reconcile asks before it allocates.

A setting that would orphan what pods use is not obeyed: the former good value goes on, and a warning says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from podway.domain.addressing import Prefix

NOT_FOR_PODS = tuple(
    map(
        Prefix.parse,
        (
            "0.0.0.0/8",  # "this network" (RFC 6890, as are the next)
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, where AWS has its services
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved
        ),
    )
)
"""Ranges in which no pod can have an address."""


@dataclass(frozen=True, slots=True)
class PodCidrs:
    """The pod CIDRs that count, and why they are not what was set."""

    cidrs: tuple[Prefix, ...]
    warnings: tuple[str, ...] = ()


def usable_for_pods(cidr: Prefix) -> str:
    """Why *cidr* cannot be a pod CIDR; empty when it can."""
    if cidr.version != 4:  # noqa: PLR2004  (the family's own number)
        return f"{cidr}: IPv6 pods are not supported yet, one IPv4 CIDR is"
    overlapping = next((one for one in NOT_FOR_PODS if one.overlaps(cidr)), None)
    return f"{cidr} overlaps {overlapping}, where no pod can have an address" if overlapping else ""


def pod_cidrs_that_count(
    wanted: tuple[Prefix, ...],
    *,
    former: Iterable[Prefix],
    held: Collection[Prefix],
    vpc_cidrs: Iterable[Prefix],
) -> PodCidrs:
    """*wanted*, unless that would orphan a prefix that is *held*, or lies inside the VPC.

    *former* are those that the agents were told last; *held* are blocks and supernets. Where nothing former
    is known, what was set counts all the same.
    """
    vpc = tuple(vpc_cidrs)
    faults = [
        f"{cidr} is inside the VPC's {inside}"
        for cidr in wanted
        if (inside := next((one for one in vpc if one.contains(cidr)), None)) is not None
    ]
    orphans = sorted(one for one in held if not _inside(one, wanted))
    kept = tuple(sorted(set(former)))
    if orphans and all(_inside(one, kept) for one in orphans):
        faults.append(f"{orphans[0]} and {len(orphans) - 1} more prefixes in use are outside of it")
    elif orphans:
        return PodCidrs(wanted, (f"{len(orphans)} prefixes in use are outside the pod CIDR: {orphans[0]} …",))
    if not faults or not kept:
        return PodCidrs(wanted, tuple(f"the pod CIDR cannot be used: {fault}" for fault in faults))
    told, set_to = (", ".join(map(str, several)) for several in (kept, wanted))
    return PodCidrs(
        kept, tuple(f"the pod CIDR stays {told}, although {set_to} is set: {fault}" for fault in faults)
    )


def _inside(prefix: Prefix, cidrs: Iterable[Prefix]) -> bool:
    return any(cidr.contains(prefix) for cidr in cidrs)
