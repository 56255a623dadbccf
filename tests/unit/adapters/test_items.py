"""What lies in the table is read back as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from podway.adapters import fast_items, items
from podway.app.ports import HistoryEntry
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import Card, CardRoute, Claim, Standby
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse, withdraw
from podway.domain.inventory import Epoch, HeldBlock, Member
from podway.domain.run.memory import AgentReport

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
BLOCK = HeldBlock(Prefix.parse("100.64.0.0/26"), 3, ready=True)
MEMBER = Member("i-1", "subnet-a", "eni-1", "10.0.0.4", (BLOCK,))
ROUTE = CardRoute("rtb-1", Prefix.parse("fd00:64::/52"), (Standby("i-2", "eni-2"),), 1 / 3)
CARD = Card("i-1", "subnet-a", "eni-1", 3, (ROUTE,), version=4, cluster_size=9, watchers=("i-2", "i-3"))
VERDICT = accuse(Verdict("i-1", "subnet-a"), Evidence("alarm:x", Severity.INDIRECT, NOW, "why"))


def stored(item: Any) -> dict[str, Any]:
    """The item after its way through DynamoDB's types, which know no floats."""
    spelt = {name: TypeSerializer().serialize(value) for name, value in item.items()}
    return {name: TypeDeserializer().deserialize(value) for name, value in spelt.items()}


@pytest.mark.parametrize(
    "member",
    [MEMBER, replace(MEMBER, blocks=(), gone_at=NOW), replace(MEMBER, former_interfaces=("eni-0",))],
    ids=["with a block", "gone", "on another interface"],
)
def test_members_come_back(member: Member) -> None:
    assert items.read_member(stored(items.member_item(member))) == member


def test_cards_come_back_with_their_weights_exact() -> None:
    assert fast_items.read_card(stored(fast_items.card_item(CARD))) == CARD


def test_claims_come_back_to_the_millisecond() -> None:
    claim = Claim("event", Severity.DEFINITIVE, NOW, done=True)

    back = fast_items.read_claim(stored(fast_items.claim_item(claim)))

    assert back == replace(claim, expires=back.expires)
    assert abs(back.expires - NOW) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "verdict",
    [VERDICT, withdraw(VERDICT, "alarm:x", as_of=NOW, now=NOW, hold_down=timedelta(seconds=60))],
    ids=["accused", "withdrawn"],
)
def test_verdicts_come_back(verdict: Verdict) -> None:
    assert fast_items.read_verdict(stored(fast_items.verdict_item(verdict))) == verdict


def test_history_lies_in_the_order_in_which_it_happened() -> None:
    entries = [
        HistoryEntry(NOW, "failover", "event", "first", "why"),
        HistoryEntry(NOW, "failover", "event", "second", "why"),
        HistoryEntry(NOW + timedelta(seconds=1), "failover", "event", "third", "why"),
    ]

    keys = [
        (item["pk"], item["sk"])
        for number, one in enumerate(entries)
        for item in [stored(fast_items.history_item(one, number=number, keep_until=0))]
    ]

    assert keys == sorted(keys)
    assert len(set(keys)) == 3


SAID = {
    "pk": "AROAEXAMPLE:i-2",
    "sk": "agent",
    "reports": "agents",
    "instance": "i-2",
    "subnet": "subnet-a",
    "generation": 3,
    "heartbeat": NOW.isoformat(),
    "cause": "heartbeat",
    "version": "1.0.0",
}


def test_an_agents_word_is_read() -> None:
    report = items.read_report(stored(SAID))

    assert report == AgentReport("i-2", "subnet-a", 3, NOW)


def test_what_an_agent_holds_is_read_with_the_epoch_that_it_counts_in() -> None:
    said = {"epoch": 2, "blocks": ["100.64.0.0/26", "100.64.9.7/32"], "boot": "b00t"}

    report = items.read_report(stored(SAID | said))

    blocks = (Prefix.parse("100.64.0.0/26"), Prefix.parse("100.64.9.7/32"))
    assert report == AgentReport("i-2", "subnet-a", 3, NOW, epoch=2, blocks=blocks, boot="b00t")


@pytest.mark.parametrize("began", [None, NOW])
def test_epochs_come_back(began: datetime | None) -> None:
    epoch = Epoch(3, "table", began, is_taken_up=False, is_inherited=True)

    assert items.read_epoch(stored(items.epoch_item(epoch))) == epoch


def test_an_agents_wish_for_blocks_is_read() -> None:
    assert items.read_report(stored(SAID | {"blocks_wanted": 2})).blocks_wanted == 2


@pytest.mark.parametrize(
    "change",
    [
        {"blocks_wanted": 1001},
        {"blocks_wanted": "all"},
        {"instance": "i-1"},
        {"heartbeat": "2026-11-22T12:00:00"},
        {"heartbeat": "long ago"},
        {"generation": -1},
        {"generation": "many"},
        {"suspects": {"i-1": True}},
        {"cause": b"spite"},
        {"subnet": {"subnet-a", "subnet-b"}},
    ],
    ids=str,
)
def test_what_a_node_spoils_is_refused_before_it_can_upset_anybody(change: dict[str, Any]) -> None:
    (field,) = change
    with pytest.raises(ValueError, match=rf"speaks for|{field}"):
        items.read_report(stored(SAID | change))
