"""The items that a failover reads and writes, and the keys of all items. Called by the stores and the ledger.

Items are plain dictionaries of text, numbers and lists. Only the control plane writes these, so they are read
without validation. They are apart from `items`, so that a failover that starts cold loads only this.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from podway.app.ports import HistoryEntry
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card, CardRoute, Claim, Standby
from podway.domain.health.verdict import Evidence, Severity, Verdict
from podway.domain.signals import LifecycleHook, PendingHook

StoredItem = Mapping[str, Any]
"""An item in plain Python values, before `table` spells it as DynamoDB does."""

INVENTORY, ROUTES, CARDS, VERDICTS = "inventory", "routes", "cards", "verdicts"
BUCKET, HOOKS = "bucket", "hooks"


def key(pk: str, sk: str) -> dict[str, str]:
    """The primary key of an item."""
    return {"pk": pk, "sk": sk}


LEASE = key("lease", "reconcile")


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


def card_route_item(route: CardRoute) -> StoredItem:
    return {
        "table": route.table,
        "destination": str(route.destination),
        "standbys": [[one.node, one.network_interface] for one in route.standbys],
        "weight": Decimal(str(route.weight)),
    }


def read_card(item: StoredItem) -> Card:
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


def claim_item(claim: Claim) -> StoredItem:
    return {
        "event": claim.event,
        "severity": int(claim.severity),
        "expires": seconds(claim.expires),
        "done": claim.done,
        "claimant": claim.claimant,
    }


def read_claim(item: StoredItem) -> Claim:
    return Claim(
        item["event"],
        Severity(int(item["severity"])),
        datetime.fromtimestamp(float(item["expires"]), tz=UTC),
        item["done"],
        item.get("claimant", ""),
    )


def read_hook(item: StoredItem) -> PendingHook:
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
        "held_until": moment_text(verdict.held_until),
        "withdrawn": {source: at.isoformat() for source, at in verdict.withdrawn.items()},
        "revision": verdict.revision,
    }


def read_verdict(item: StoredItem) -> Verdict:
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
        held_until=read_moment(item["held_until"]),
        withdrawn={source: datetime.fromisoformat(at) for source, at in item["withdrawn"].items()},
        revision=int(item["revision"]),
    )


def history_item(entry: HistoryEntry, *, number: int, keep_until: int) -> StoredItem:
    return {
        **key(f"history#{entry.at:%Y-%m-%d}", f"{entry.at.isoformat()}#{entry.event}#{number:04}"),
        "actor": entry.actor,
        "event": entry.event,
        "what": entry.what,
        "why": entry.why,
        "detail": dict(entry.detail),
        "forget_after": keep_until,
    }


def read_history(item: StoredItem) -> HistoryEntry:
    return HistoryEntry(
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
    """A length of time as a number of seconds."""
    return Decimal(str(round(time.total_seconds(), 3)))


def moment_text(moment: datetime | None) -> str:
    """A moment as text. Empty for None."""
    return moment.isoformat() if moment else ""


def read_moment(text: str) -> datetime | None:
    """The moment that *text* spells. None for an empty text."""
    return datetime.fromisoformat(text) if text else None
