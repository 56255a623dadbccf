"""What the control plane tells the agents of one subnet, and how it is packed.

Reconcile writes it through `adapters.dynamodb`, every agent of the subnet reads it. Agents and stack may
differ by a minor version: unknown fields are ignored, an unknown major is refused.
"""

from __future__ import annotations

import hashlib
import zlib
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from podway.wire.values import Cidr

SCHEMA_MAJOR = 1
SCHEMA_MINOR = 3
MAX_BODY_BYTES = 8 << 20
"""The largest unpacked snapshot that is accepted. 5,000 nodes take about 1 MB."""


class SnapshotRefused(ValueError):
    """The bytes are no usable snapshot: damaged, of another schema, or too big."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class SnapshotBlock(_Part):
    """A block and the generation in which it first appeared. Who acknowledged that one or later knows it."""

    cidr: Cidr
    since: int = Field(ge=1)
    ready: bool = False
    """Covered in every table, and known to its forwarders: pods may use it."""


class SnapshotMember(_Part):
    """A node of the subnet."""

    id: str
    address: str
    """Its primary private address: the gateway of host routes to its blocks."""
    network_interface: str
    state: Literal["joining", "ready", "draining", "gone"]
    blocks: tuple[SnapshotBlock, ...] = ()


class Watch(_Part):
    """A forwarder, and the nodes of its subnet that probe through it."""

    forwarder: str
    watchers: tuple[str, ...]


class Snapshot(_Part):
    """The state of one subnet that its agents program."""

    major: int = SCHEMA_MAJOR
    minor: int = SCHEMA_MINOR
    cluster: str
    subnet: str
    generation: int = Field(ge=1)
    epoch: int = Field(default=1, ge=1)
    """Since 1.3: the store's life that ``generation`` counts in. A later one is newer, whatever its
    generation."""
    written: datetime
    pod_cidrs: tuple[Cidr, ...]
    subnet_cidrs: tuple[Cidr, ...] = ()
    """The subnet's own VPC ranges: members' addresses lie in them."""
    reachable_here: tuple[Cidr, ...] = ()
    """Every prefix whose managed route may point at this subnet. Nodes make what is not allocated of it
    ``unreachable``, so that packets to it cannot loop."""
    led_here: tuple[Cidr, ...] = ()
    """Since 1.2: the part of ``reachable_here`` that the subnet's own route table leads to a node of the
    subnet. Nodes refuse only packets to it that come in from the VPC. What a node itself sends to an address
    that it does not know may leave by the VPC router."""
    elsewhere: tuple[Cidr, ...] = ()
    """Space inside ``reachable_here`` that another subnet owns. Packets to it leave by the VPC router."""
    forwarders: tuple[str, ...] = ()
    """Nodes of the subnet that relay for others, and their standbys. They poll fast."""
    members: tuple[SnapshotMember, ...] = ()
    watches: tuple[Watch, ...] = ()
    """Since 1.1: who probes through whom. Only an assigned watcher's suspicion counts."""


class PackedSnapshot(BaseModel):
    """A snapshot as it lies in the store: compressed, with a checksum of what it unpacks to."""

    model_config = ConfigDict(frozen=True)

    generation: int
    epoch: int = 1
    checksum: str
    body: bytes


def pack(snapshot: Snapshot) -> PackedSnapshot:
    """The snapshot as bytes for the store."""
    text = snapshot.model_dump_json().encode()
    return PackedSnapshot(
        generation=snapshot.generation,
        epoch=snapshot.epoch,
        checksum=hashlib.sha256(text).hexdigest(),
        body=zlib.compress(text, 9),
    )


def unpack(packed: PackedSnapshot, *, cluster: str | None = None, subnet: str | None = None) -> Snapshot:
    """The snapshot in *packed*, if it is sound and for this reader.

    Raises SnapshotRefused when it is damaged, too big, of another major schema, or of another cluster or
    subnet than the one named.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(packed.body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise SnapshotRefused(f"body is not zlib data: {error}") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise SnapshotRefused("body is truncated, or unpacks to too much")
    if hashlib.sha256(text).hexdigest() != packed.checksum:
        raise SnapshotRefused("checksum does not match the body")
    try:
        snapshot = Snapshot.model_validate_json(text)
    except ValidationError as error:
        raise SnapshotRefused(_other_schema(text) or f"body is no snapshot: {error}") from error
    if snapshot.major != SCHEMA_MAJOR:
        raise SnapshotRefused(_other_schema(text))
    if (snapshot.epoch, snapshot.generation) != (packed.epoch, packed.generation):
        raise SnapshotRefused("epoch and generation of the body are not those of the item")
    if cluster not in (None, snapshot.cluster) or subnet not in (None, snapshot.subnet):
        raise SnapshotRefused(f"it is of cluster {snapshot.cluster}, subnet {snapshot.subnet}")
    _lighten(snapshot)
    return snapshot


def _lighten(snapshot: Snapshot) -> None:
    """Let all members share one ``__pydantic_fields_set__``, and all blocks another.

    pydantic keeps such a set with every value. They take half of a big snapshot's memory on a node, and
    serve only ``exclude_unset``, which nothing here uses.
    """
    given: dict[type[_Part], set[str]] = {
        kind: set(kind.model_fields) for kind in (SnapshotMember, SnapshotBlock)
    }
    for member in snapshot.members:
        for part in (member, *member.blocks):
            object.__setattr__(part, "__pydantic_fields_set__", given[type(part)])


class _Schema(_Part):
    major: int
    minor: int = 0


def _other_schema(text: bytes) -> str:
    """Why a snapshot of another major schema is refused. Empty if it is of ours, or says no schema."""
    try:
        said = _Schema.model_validate_json(text)
    except ValidationError:
        return ""
    return "" if said.major == SCHEMA_MAJOR else f"schema {said.major}.{said.minor} is not {SCHEMA_MAJOR}.x"
