"""Snapshots of a small subnet, as the agent's tests need them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot, SnapshotBlock, SnapshotMember

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HERE = "i-0a"
CLUSTER = "demo"
SUBNET = "subnet-a"
State = Literal["joining", "ready", "draining", "gone"]


def member(
    instance: str,
    address: str,
    *blocks: str,
    state: State = "ready",
    ready: bool = True,
) -> SnapshotMember:
    return SnapshotMember(
        id=instance,
        address=address,
        network_interface=f"eni-{instance[2:]}",
        state=state,
        blocks=tuple(SnapshotBlock(cidr=Prefix.parse(block), since=1, ready=ready) for block in blocks),
    )


ME = member(HERE, "10.0.0.10", "100.64.0.0/26")
SIBLING = member("i-0b", "10.0.0.11", "100.64.0.64/26")
OTHER = member("i-0c", "10.0.0.12", "100.64.0.128/26", "100.64.3.0/26")


def prefixes(cidrs: Sequence[str]) -> tuple[Prefix, ...]:
    return tuple(map(Prefix.parse, cidrs))


def snapshot(*members: SnapshotMember, generation: int = 1, **changed: Any) -> Snapshot:
    """Three members of subnet-a, 10.0.0.0/20, with the supernet 100.64.0.0/20; or what is said."""
    told = {name: prefixes(value) for name, value in changed.items() if name in CIDR_FIELDS}
    fields: dict[str, Any] = {
        "cluster": CLUSTER,
        "subnet": SUBNET,
        "written": NOON,
        "pod_cidrs": prefixes(["100.64.0.0/16"]),
        "subnet_cidrs": prefixes(["10.0.0.0/20"]),
        "reachable_here": prefixes(["100.64.0.0/20"]),
    }
    return Snapshot(**fields | changed | told, generation=generation, members=members or (ME, SIBLING, OTHER))


CIDR_FIELDS = ("pod_cidrs", "subnet_cidrs", "reachable_here", "led_here", "elsewhere")
