"""How values lie in the table: plain dictionaries of text, numbers and lists.

Keys are made here and nowhere else. Only the control plane writes these
items, so they are read without validation; agents' own items are validated (``wire.agent_item``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from podway.app.ports import AgentReport, PendingHook, Remark
from podway.domain.addressing import Prefix
from podway.domain.failover import Card, CardRoute, Claim, Standby
from podway.domain.handout import MapMember, SubnetMap
from podway.domain.health import Evidence, Severity, Verdict
from podway.domain.members import HeldBlock, Member
from podway.domain.model import NodeState
from podway.domain.signals import LifecycleHook
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import Block, Snapshot, Watch
from podway.wire.snapshot import Member as SnapshotMember

Item = Mapping[str, Any]

INVENTORY, ROUTES, CARDS, VERDICTS = "inventory", "routes", "cards", "verdicts"
BUCKET, HOOKS = "bucket", "hooks"
SNAPSHOT_VERSION, SNAPSHOT_BODY = "version", "body"


def key(pk: str, sk: str) -> dict[str, str]:
    """The primary key of an item."""
    return {"pk": pk, "sk": sk}


def node_key(node: str) -> dict[str, str]:
    return key(INVENTORY, f"node#{node}")


def subnet_key(subnet: str) -> dict[str, str]:
    return key(INVENTORY, f"subnet#{subnet}")


def snapshot_key(subnet: str, part: str) -> dict[str, str]:
    return key(f"snapshot#{subnet}", part)


LEASE = key("lease", "reconcile")


def member_item(member: Member) -> Item:
    return {
        **node_key(member.id),
        "node": member.id,
        "subnet": member.subnet,
        "network_interface": member.network_interface,
        "address": member.address,
        "blocks": [
            {"cidr": str(block.prefix), "since": block.since, "ready": block.ready} for block in member.blocks
        ],
        "gone_at": _time_text(member.gone_at),
        "former_interfaces": list(member.former_interfaces),
    }


def read_member(item: Item) -> Member:
    return Member(
        id=item["node"],
        subnet=item["subnet"],
        network_interface=item["network_interface"],
        address=item["address"],
        blocks=tuple(
            HeldBlock(Prefix.parse(block["cidr"]), int(block["since"]), block["ready"])
            for block in item["blocks"]
        ),
        gone_at=_time(item["gone_at"]),
        former_interfaces=tuple(item["former_interfaces"]),
    )


def supernets_item(subnet: str, supernets: tuple[Prefix, ...]) -> Item:
    return {**subnet_key(subnet), "subnet": subnet, "supernets": [str(one) for one in supernets]}


def card_item(card: Card) -> dict[str, Any]:
    return {
        **key(CARDS, card.node),
        "subnet": card.subnet,
        "network_interface": card.network_interface,
        "subnet_size": card.subnet_size,
        "cluster_size": card.cluster_size,
        "watchers": list(card.watchers),
        "is_awaited": card.is_awaited,
        "routes": [card_route_item(route) for route in card.routes],
        "version": card.version,
    }


def card_route_item(route: CardRoute) -> Item:
    return {
        "table": route.table,
        "destination": str(route.destination),
        "standbys": [[one.node, one.network_interface] for one in route.standbys],
        "weight": Decimal(str(route.weight)),
    }


def read_card(item: Item) -> Card:
    claim = item.get("claim")
    return Card(
        node=item["sk"],
        subnet=item["subnet"],
        network_interface=item["network_interface"],
        subnet_size=int(item["subnet_size"]),
        routes=tuple(
            CardRoute(
                route["table"],
                Prefix.parse(route["destination"]),
                tuple(Standby(node, interface) for node, interface in route["standbys"]),
                float(route["weight"]),
            )
            for route in item["routes"]
        ),
        version=int(item["version"]),
        claim=read_claim(claim) if claim else None,
        cluster_size=int(item.get("cluster_size", 0)),
        watchers=tuple(item.get("watchers", ())),
        is_awaited=bool(item.get("is_awaited", True)),
    )


def claim_item(claim: Claim) -> Item:
    return {
        "event": claim.event,
        "severity": int(claim.severity),
        "expires": seconds(claim.expires),
        "done": claim.done,
    }


def read_claim(item: Item) -> Claim:
    return Claim(
        item["event"],
        Severity(int(item["severity"])),
        datetime.fromtimestamp(float(item["expires"]), tz=UTC),
        item["done"],
    )


def read_hook(item: Item) -> PendingHook:
    hook = LifecycleHook(item["group"], item["name"], item["token"], item["sk"])
    return PendingHook(hook, datetime.fromisoformat(item["since"]))


def verdict_item(verdict: Verdict) -> dict[str, Any]:
    return {
        **key(VERDICTS, verdict.instance),
        "subnet": verdict.subnet,
        "evidence": {
            source: {"severity": int(one.severity), "at": one.at.isoformat(), "detail": one.detail}
            for source, one in verdict.evidence.items()
        },
        "flaps": verdict.flaps,
        "held_until": _time_text(verdict.held_until),
        "withdrawn": {source: at.isoformat() for source, at in verdict.withdrawn.items()},
        "revision": verdict.revision,
    }


def read_verdict(item: Item) -> Verdict:
    return Verdict(
        instance=item["sk"],
        subnet=item["subnet"],
        evidence={
            source: Evidence(
                source, Severity(int(one["severity"])), datetime.fromisoformat(one["at"]), one["detail"]
            )
            for source, one in item["evidence"].items()
        },
        flaps=int(item["flaps"]),
        held_until=_time(item["held_until"]),
        withdrawn={source: datetime.fromisoformat(at) for source, at in item["withdrawn"].items()},
        revision=int(item["revision"]),
    )


def read_report(item: Item) -> AgentReport:
    """An agent's word of itself. Raises pydantic's ValidationError, and ValueError for a borrowed name."""
    said = AgentItem.model_validate({name: _plain(value) for name, value in item.items()})
    if said.instance != said.speaker:  # IAM vouches for the key alone
        raise ValueError(f"{said.speaker} speaks for {said.instance}")
    return AgentReport(
        said.speaker, said.subnet, said.generation, said.heartbeat, said.suspects, said.blocks_wanted
    )


def to_snapshot(subnet_map: SubnetMap, *, now: datetime) -> Snapshot:
    return Snapshot(
        cluster=subnet_map.cluster,
        subnet=subnet_map.subnet,
        generation=subnet_map.generation,
        written=now,
        pod_cidrs=subnet_map.pod_cidrs,
        subnet_cidrs=subnet_map.subnet_cidrs,
        reachable_here=subnet_map.reachable_here,
        elsewhere=subnet_map.elsewhere,
        forwarders=subnet_map.forwarders,
        members=tuple(
            SnapshotMember(
                id=one.id,
                address=one.address,
                network_interface=one.network_interface,
                state=one.state.value,
                blocks=tuple(
                    Block(cidr=block.prefix, since=block.since, ready=block.ready) for block in one.blocks
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
    )


def remark_item(remark: Remark, *, number: int, keep_until: int) -> Item:
    return {
        **key(f"history#{remark.at:%Y-%m-%d}", f"{remark.at.isoformat()}#{remark.event}#{number:04}"),
        "actor": remark.actor,
        "event": remark.event,
        "what": remark.what,
        "why": remark.why,
        "detail": dict(remark.detail),
        "forget_after": keep_until,
    }


def read_remark(item: Item) -> Remark:
    return Remark(
        at=datetime.fromisoformat(item["sk"].partition("#")[0]),
        actor=item["actor"],
        event=item["event"],
        what=item["what"],
        why=item["why"],
        detail=dict(item["detail"]),
    )


def seconds(moment: datetime) -> Decimal:
    """A moment as a number that conditions can compare, in seconds since 1970."""
    return Decimal(str(round(moment.timestamp(), 3)))


def span(time: timedelta) -> Decimal:
    """A length of time in seconds."""
    return Decimal(str(round(time.total_seconds(), 3)))


def _time_text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) else value
