"""Snapshots as they lie in the store: small; refused when damaged, foreign or of another schema."""

from __future__ import annotations

import hashlib
import json
import random
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway.wire.snapshot import (
    MAX_BODY_BYTES,
    SCHEMA_MAJOR,
    SCHEMA_MINOR,
    PackedSnapshot,
    Snapshot,
    SnapshotBlock,
    SnapshotMember,
    SnapshotRefused,
    Watch,
    pack,
    unpack,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NODES = 5_000
SUBNETS = 3
ROOM = 100_000
"""Bytes that a snapshot may take in the store, so that a newcomer's first read costs 13 units at most."""


def subnet_of(nodes: int, *, seed: int, blocks: int = 1, forwarders: int = 1) -> Snapshot:
    """A subnet as a large cluster has it: ids are as random as AWS's, blocks as dense as allocated."""
    chance = random.Random(seed)

    def identity(kind: str) -> str:
        return f"{kind}-0{chance.getrandbits(64):016x}"

    def block(number: int) -> SnapshotBlock:
        cidr = Prefix(4, Prefix.parse("100.64.0.0/12").value + 64 * number, 26)
        return SnapshotBlock(cidr=cidr, since=chance.randrange(1, 4000), ready=True)

    members = [
        SnapshotMember(
            id=identity("i"),
            address=f"10.0.{number // 256}.{number % 256}",
            network_interface=identity("eni"),
            state="ready",
            blocks=tuple(block(place * blocks + one) for one in range(blocks)),
        )
        for place, number in enumerate(chance.sample(range(5, 4090), nodes))
    ]
    ids = sorted(member.id for member in members)
    chosen = sorted(chance.sample(ids, min(forwarders, nodes)))
    return Snapshot(
        cluster="production",
        subnet=identity("subnet"),
        generation=4000,
        written=NOON,
        pod_cidrs=(Prefix.parse("100.64.0.0/10"),),
        subnet_cidrs=(Prefix.parse("10.0.0.0/20"),),
        reachable_here=(Prefix.parse("100.64.0.0/12"),),
        led_here=(Prefix.parse("100.64.0.0/12"),),
        forwarders=tuple(chosen),
        members=tuple(sorted(members, key=lambda member: member.id)),
        watches=tuple(
            Watch(forwarder=one, watchers=tuple(chance.sample(ids, min(3, nodes)))) for one in chosen
        ),
    )


@pytest.mark.parametrize(("blocks", "forwarders"), [(1, 17), (1, 490), (2, 490)])
def test_a_subnet_of_a_cluster_of_5000_nodes_in_three_takes_less_than_100_kb(
    blocks: int, forwarders: int
) -> None:
    packed = pack(subnet_of(NODES // SUBNETS + 1, seed=1, blocks=blocks, forwarders=forwarders))

    assert len(packed.body) < ROOM
    assert len(unpack(packed).members) == NODES // SUBNETS + 1


@given(seed=st.integers(0, 2**32), nodes=st.integers(0, 40), blocks=st.integers(0, 3))
def test_what_is_packed_is_unpacked(seed: int, nodes: int, blocks: int) -> None:
    told = subnet_of(nodes, seed=seed, blocks=blocks)

    assert unpack(pack(told), cluster=told.cluster, subnet=told.subnet) == told


def raw(
    fields: dict[str, Any] | None = None, *, text: bytes | None = None, generation: int = 4000
) -> PackedSnapshot:
    """A snapshot with *fields* as they are said, whatever the model thinks of them."""
    content = json.loads(subnet_of(2, seed=1).model_dump_json()) | (fields or {})
    body = json.dumps(content).encode() if text is None else text
    return PackedSnapshot(
        generation=generation, checksum=hashlib.sha256(body).hexdigest(), body=zlib.compress(body)
    )


def test_another_minor_version_may_say_more() -> None:
    assert unpack(raw({"minor": 9, "weather": "fine"})).minor == 9


def test_what_an_older_minor_version_did_not_say_is_nothing() -> None:
    told = json.loads(subnet_of(2, seed=1).model_dump_json())
    del told["led_here"]

    assert unpack(raw(text=json.dumps(told | {"minor": 1}).encode())).led_here == ()


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (raw({"major": SCHEMA_MAJOR + 1}), f"schema {SCHEMA_MAJOR + 1}.{SCHEMA_MINOR} is not"),
        (raw({"major": 2, "members": {"by": "name"}}), f"schema 2.{SCHEMA_MINOR} is not 1.x"),
        (raw({"major": 0}), f"schema 0.{SCHEMA_MINOR} is not"),
        (raw({"major": "new"}), "no snapshot"),
        (raw({"members": None}), "no snapshot"),
        (raw({"pod_cidrs": ["100.64.0.1/10"]}), "no snapshot"),
        (raw(text=b"[]"), "no snapshot"),
        (raw(text=b"{"), "no snapshot"),
        (raw(generation=4001), "generation of the body"),
        (raw().model_copy(update={"checksum": "0" * 64}), "checksum"),
        (raw().model_copy(update={"body": b"not zlib"}), "not zlib"),
        (raw().model_copy(update={"body": raw().body[:-5]}), "truncated"),
        (raw().model_copy(update={"body": b""}), "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_may_not_be_obeyed_is_refused_with_the_reason(packed: PackedSnapshot, said: str) -> None:
    with pytest.raises(SnapshotRefused, match=said):
        unpack(packed)


def test_a_body_that_unpacks_to_too_much_is_not_unpacked() -> None:
    bomb = zlib.compress(b" " * (MAX_BODY_BYTES + 1))

    with pytest.raises(SnapshotRefused, match="too much"):
        unpack(raw().model_copy(update={"body": bomb}))


@pytest.mark.parametrize("whose", [{"cluster": "other"}, {"subnet": "subnet-other"}])
def test_a_snapshot_of_others_is_refused(whose: dict[str, str]) -> None:
    told = subnet_of(2, seed=1)

    with pytest.raises(SnapshotRefused, match="it is of cluster production"):
        unpack(pack(told), **({"cluster": told.cluster, "subnet": told.subnet} | whose))


def test_members_and_blocks_that_are_unpacked_share_what_pydantic_notes_of_each() -> None:
    """Half of a big snapshot's memory otherwise: an agent holds thousands of them."""
    members = unpack(pack(subnet_of(50, seed=1, blocks=2))).members

    noted = {id(part.model_fields_set) for one in members for part in (one, *one.blocks)}

    assert len(noted) == 2
