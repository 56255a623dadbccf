"""The other items of the table: members, supernets, agents' reports and snapshots. Called by `dynamodb`.

Agents write their own items, so those are validated (``wire.agent_item``).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from podway.adapters.fast_items import INVENTORY, StoredItem, key, moment_text, read_moment
from podway.domain.addressing import Prefix
from podway.domain.inventory import Epoch, HeldBlock, Member, ReleasedSpace
from podway.domain.members.maps import MapMember, SubnetMap
from podway.domain.model import NodeState
from podway.domain.run.memory import AgentReport
from podway.wire.agent_item import AgentItem
from podway.wire.events import faults_of
from podway.wire.snapshot import Snapshot, SnapshotBlock, SnapshotMember, Watch

SNAPSHOT_VERSION, SNAPSHOT_BODY = "version", "body"


def node_key(node: str) -> dict[str, str]:
    return key(INVENTORY, f"node#{node}")


def subnet_key(subnet: str) -> dict[str, str]:
    return key(INVENTORY, f"subnet#{subnet}")


def leaving_key(prefix: Prefix) -> dict[str, str]:
    return key(INVENTORY, f"leaving#{prefix}")


def snapshot_key(subnet: str, part: str) -> dict[str, str]:
    return key(f"snapshot#{subnet}", part)


def member_item(member: Member) -> StoredItem:
    return {
        **node_key(member.id),
        "node": member.id,
        "subnet": member.subnet,
        "network_interface": member.network_interface,
        "address": member.address,
        "blocks": [
            {"cidr": str(block.prefix), "since": block.since, "ready": block.ready} for block in member.blocks
        ],
        "gone_at": moment_text(member.gone_at),
        "former_interfaces": list(member.former_interfaces),
        "missing_since": moment_text(member.missing_since),
        "is_given_up": member.is_given_up,
        "capacity": Decimal(str(member.capacity)),
    }


def read_member(item: StoredItem) -> Member:
    return Member(
        id=item["node"],
        subnet=item["subnet"],
        network_interface=item["network_interface"],
        address=item["address"],
        blocks=tuple(
            HeldBlock(Prefix.parse(block["cidr"]), int(block["since"]), block["ready"])
            for block in item["blocks"]
        ),
        gone_at=read_moment(item["gone_at"]),
        former_interfaces=tuple(item["former_interfaces"]),
        missing_since=read_moment(item.get("missing_since", "")),
        is_given_up=item.get("is_given_up", False),
        capacity=float(item.get("capacity", 1.0)),
    )


def supernets_item(subnet: str, supernets: tuple[Prefix, ...]) -> StoredItem:
    return {**subnet_key(subnet), "subnet": subnet, "supernets": [str(one) for one in supernets]}


def leaving_item(one: ReleasedSpace) -> StoredItem:
    return {
        **leaving_key(one.prefix),
        "leaving": str(one.prefix),
        "subnet": one.subnet,
        "gone_at": moment_text(one.gone_at),
        "generation": one.generation,
    }


def read_leaving(item: StoredItem) -> ReleasedSpace:
    return ReleasedSpace(
        Prefix.parse(item["leaving"]), item["subnet"], read_moment(item["gone_at"]), int(item["generation"])
    )


def given_back_item(moment: datetime) -> StoredItem:
    return {**key(INVENTORY, "given_back"), "given_back": moment.isoformat()}


def read_given_back(item: StoredItem) -> datetime:
    return datetime.fromisoformat(item["given_back"])


def epoch_item(epoch: Epoch) -> StoredItem:
    return {
        **key(INVENTORY, "epoch"),
        "epoch": epoch.number,
        "table_id": epoch.table_id,
        "began": moment_text(epoch.began),
        "is_taken_up": epoch.is_taken_up,
        "is_inherited": epoch.is_inherited,
    }


def read_epoch(item: StoredItem) -> Epoch:
    return Epoch(
        int(item["epoch"]),
        item["table_id"],
        read_moment(item["began"]),
        item["is_taken_up"],
        item["is_inherited"],
    )


def read_report(item: StoredItem) -> AgentReport:
    """An agent's report. Raises ValueError if an agent may not write this, or it names another instance."""
    try:
        said = AgentItem.model_validate({name: _plain(value) for name, value in item.items()})
    except ValidationError as error:
        raise ValueError(faults_of(error)) from None
    if said.instance != said.speaker:  # IAM vouches for the key alone
        raise ValueError(f"{said.speaker} speaks for {said.instance}")
    return AgentReport(
        said.speaker,
        said.subnet,
        said.generation,
        said.heartbeat,
        said.suspects,
        said.blocks_wanted,
        said.epoch,
        said.blocks,
        said.boot,
    )


def to_snapshot(subnet_map: SubnetMap, *, now: datetime) -> Snapshot:
    return Snapshot(
        cluster=subnet_map.cluster,
        subnet=subnet_map.subnet,
        generation=subnet_map.generation,
        epoch=subnet_map.epoch,
        written=now,
        pod_cidrs=subnet_map.pod_cidrs,
        subnet_cidrs=subnet_map.subnet_cidrs,
        reachable_here=subnet_map.reachable_here,
        led_here=subnet_map.led_here,
        elsewhere=subnet_map.elsewhere,
        forwarders=subnet_map.forwarders,
        members=tuple(
            SnapshotMember(
                id=one.id,
                address=one.address,
                network_interface=one.network_interface,
                state=one.state.value,
                blocks=tuple(
                    SnapshotBlock(cidr=block.prefix, since=block.since, ready=block.ready)
                    for block in one.blocks
                ),
            )
            for one in subnet_map.members
        ),
        watches=tuple(Watch(forwarder=one, watchers=watchers) for one, watchers in subnet_map.watches),
    )


def read_snapshot(snapshot: Snapshot) -> SubnetMap:
    return SubnetMap(
        cluster=snapshot.cluster,
        subnet=snapshot.subnet,
        pod_cidrs=snapshot.pod_cidrs,
        subnet_cidrs=snapshot.subnet_cidrs,
        reachable_here=snapshot.reachable_here,
        elsewhere=snapshot.elsewhere,
        forwarders=snapshot.forwarders,
        members=tuple(
            MapMember(
                one.id,
                one.address,
                one.network_interface,
                NodeState(one.state),
                tuple(HeldBlock(block.cidr, block.since, block.ready) for block in one.blocks),
            )
            for one in snapshot.members
        ),
        generation=snapshot.generation,
        watches=tuple((one.forwarder, one.watchers) for one in snapshot.watches),
        led_here=snapshot.led_here,
        epoch=snapshot.epoch,
    )


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
