"""What failover needs of the store: cards, verdicts, hooks, tokens and the history.

`bootstrap` gives it to failover, `dynamodb` adds the rest. It is apart, so that a failover that starts cold
loads only this.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from podway.adapters import fast_items
from podway.adapters.aws_errors import aws_errors
from podway.adapters.table import Table, chunks, named, read, spelt, valued
from podway.app.errors import Superseded, TryAgain
from podway.app.ports import ClaimAnswer, HistoryEntry
from podway.domain.failover.decide import CLAIM_LASTS, SKEW, Card, CardRoute, Claim
from podway.domain.failover.pacing import LONGEST_DEBT, REFILL, debit
from podway.domain.health.verdict import Verdict
from podway.domain.signals import LifecycleHook

if TYPE_CHECKING:
    Item = Mapping[str, Any]

HISTORY_KEPT = timedelta(days=90)
TRANSACTION_ITEMS = 100
"""The most actions of one transaction (DynamoDB's limit)."""
TRIES = 10
"""How often a read-change-write begins anew because somebody else wrote, before it raises TryAgain."""


class FastStore(Table):
    """The part of the Store port that failover and lifecycle use."""

    # Cards

    def put_card(self, card: Card) -> bool:
        """Write the card without a claim, if the stored one still has *card.version*."""
        unchanged = {
            "ConditionExpression": "version = :version",
            **valued({":version": card.version}),
        }
        item = fast_items.card_item(replace(card, version=card.version + 1))
        try:
            with aws_errors():
                self._client.put_item(
                    TableName=self._table,
                    Item=spelt(item),
                    **(unchanged if card.version else {"ConditionExpression": "attribute_not_exists(pk)"}),
                )
        except Superseded:
            return False
        return True

    def remove_card(self, node: str) -> None:
        """Remove the card of a node that is gone for good."""
        with aws_errors():
            self._client.delete_item(TableName=self._table, Key=spelt(fast_items.key(fast_items.CARDS, node)))

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        """Claim by one conditional update, which answers with the card also if it is refused."""
        over = "#claim.#expires < :now OR #claim.#expires > :ahead"  # `decide.has_expired`
        same = "attribute_not_exists(#claim.#claimant) OR #claim.#claimant IN (:claimant, :unknown)"
        ours = f"#claim.#done = :false AND (({over}) OR (#claim.#event = :event AND ({same})))"
        free = f"attribute_not_exists(#claim) OR #claim.#severity < :severity OR ({ours})"
        with aws_errors():
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=spelt(fast_items.key(fast_items.CARDS, node)),
                    UpdateExpression="SET #claim = :claim, #version = #version + :one",
                    ConditionExpression=f"attribute_exists(pk) AND ({free})",
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **named("claim", "event", "severity", "expires", "done", "version", "claimant"),
                    **valued(
                        {
                            ":claim": fast_items.claim_item(claim),
                            ":event": claim.event,
                            ":severity": int(claim.severity),
                            ":now": fast_items.seconds(now),
                            ":ahead": fast_items.seconds(now + CLAIM_LASTS + SKEW),
                            ":false": False,
                            ":one": 1,
                            ":claimant": claim.claimant,
                            ":unknown": "",
                        }
                    ),
                )
            except self._client.exceptions.ConditionalCheckFailedException as refusal:
                return self._refused_claim(refusal.response.get("Item"))
        return ClaimAnswer.CLAIMED, fast_items.read_card(read(answer["Attributes"]))

    @staticmethod
    def _refused_claim(item: Item | None) -> tuple[ClaimAnswer, Card | None]:
        if not item:
            return ClaimAnswer.NOT_A_MEMBER, None
        card = fast_items.read_card(read(item))
        done = card.claim is not None and card.claim.done
        return (ClaimAnswer.DONE if done else ClaimAnswer.TAKEN), card

    def card(self, node: str) -> Card | None:
        """The card, by a strongly consistent read."""
        item = self._get(fast_items.key(fast_items.CARDS, node))
        return fast_items.read_card(item) if item else None

    def finish_card(self, card: Card) -> bool:
        """Mark the claim done, unless somebody took it over or gave the node more routes meanwhile."""
        assert card.claim is not None
        whose, who = self._whose(card.claim)
        try:
            self._update(
                fast_items.key(fast_items.CARDS, card.node),
                "SET #claim.#done = :true",
                condition=f"{whose} AND #version = :version",
                values={":true": True, ":version": card.version, **who},
                names=("claim", "done", "event", "version", "claimant"),
            )
        except Superseded:
            return False
        return True

    def leave_claim(self, node: str, claim: Claim) -> None:
        """Write whose it is and when it expires anew, unless it is somebody else's by now."""
        whose, who = self._whose(claim)
        with contextlib.suppress(Superseded):
            self._update(
                fast_items.key(fast_items.CARDS, node),
                "SET #claim.#claimant = :unknown, #claim.#expires = :expires",
                condition=whose,
                values={":unknown": "", ":expires": fast_items.seconds(claim.expires), **who},
                names=("claim", "event", "claimant", "expires"),
            )

    @staticmethod
    def _whose(claim: Claim) -> tuple[str, Item]:
        """The condition that the stored claim is this one, and its values."""
        return (
            "#claim.#event = :event AND #claim.#claimant = :claimant",
            {":event": claim.event, ":claimant": claim.claimant},
        )

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        """Append to the routes of a card, whether it is claimed or not. A claim that is done is removed."""
        append = "SET #routes = list_append(#routes, :routes), #version = #version + :one"
        values = {":routes": [fast_items.card_route_item(one) for one in routes], ":one": 1}
        where = fast_items.key(fast_items.CARDS, node)
        idle = "attribute_exists(pk) AND (attribute_not_exists(#claim) OR #claim.#done = :true)"
        try:
            self._update(
                where,
                f"{append} REMOVE #claim",
                condition=idle,
                values=values | {":true": True},
                names=("routes", "version", "claim", "done"),
            )
        except Superseded:
            self._update(
                where, append, condition="attribute_exists(pk)", values=values, names=("routes", "version")
            )

    # Verdicts

    def change_verdict(
        self,
        instance: str,
        subnet: str,
        change: Callable[[Verdict], Verdict],
        *,
        seen: Verdict | None = None,
    ) -> Verdict:
        """Read, change, and write if nobody wrote between. Raises TryAgain after TRIES attempts."""
        where = fast_items.key(fast_items.VERDICTS, instance)
        before = seen
        for _ in range(TRIES):
            if before is None:
                item = self._get(where)
                before = fast_items.read_verdict(item) if item else Verdict(instance, subnet)
            after = replace(change(before), revision=before.revision + 1)
            if after == before:
                return before
            try:
                self._put_verdict(after, was=before.revision)
            except Superseded:
                before = None
                continue
            return after
        raise TryAgain(f"the verdict on {instance} is changing too fast")

    def _put_verdict(self, verdict: Verdict, *, was: int) -> None:
        with aws_errors():
            self._client.put_item(
                TableName=self._table,
                Item=spelt(fast_items.verdict_item(verdict)),
                ConditionExpression="revision = :was" if was else "attribute_not_exists(pk)",
                **(valued({":was": was}) if was else {}),
            )

    def forget_verdict(self, verdict: Verdict) -> None:
        """Remove the verdict, if it is still as it was read."""
        item = fast_items.verdict_item(verdict)
        compared = ("evidence", "flaps", "held_until", "withdrawn")
        try:
            with aws_errors():
                self._client.delete_item(
                    TableName=self._table,
                    Key=spelt(fast_items.key(fast_items.VERDICTS, verdict.instance)),
                    ConditionExpression=" AND ".join(f"#{name} = :{name}" for name in compared),
                    **named(*compared),
                    **valued({f":{name}": item[name] for name in compared}),
                )
        except Superseded:
            return  # it has changed since, or is gone already

    def verdicts(self) -> Mapping[str, Verdict]:
        """All verdicts. Only nodes with evidence, or with some lately, have one."""
        found = (fast_items.read_verdict(item) for item in self._query(fast_items.VERDICTS))
        return {verdict.instance: verdict for verdict in found}

    # The history, and the account's buckets

    def add_history(self, entries: Iterable[HistoryEntry]) -> None:
        """Write the entries. Their keys are time, event and number, so a repeated call adds nothing."""
        writes = [
            self._put_action(
                fast_items.history_item(
                    entry, number=number, keep_until=int((entry.at + HISTORY_KEPT).timestamp())
                )
            )
            for number, entry in enumerate(entries)
        ]
        for chunk in chunks(writes, TRANSACTION_ITEMS):
            self._transact(chunk)

    def keep_hook(self, hook: LifecycleHook, *, now: datetime) -> None:
        """Keep the hook. The first time stays, however often the event comes."""
        self._update(
            fast_items.key(fast_items.HOOKS, hook.instance),
            "SET #group = :group, #name = :name, #token = :token, #since = if_not_exists(#since, :now)",
            condition="attribute_not_exists(pk) OR attribute_exists(pk)",
            values={":group": hook.group, ":name": hook.name, ":token": hook.token, ":now": now.isoformat()},
            names=("group", "name", "token", "since"),
        )

    def drop_hook(self, instance: str) -> None:
        """Remove the hook, if there is one."""
        with aws_errors():
            self._client.delete_item(
                TableName=self._table, Key=spelt(fast_items.key(fast_items.HOOKS, instance))
            )

    def take_tokens(self, kind: str, count: int, *, now: datetime) -> datetime:
        """Debit the bucket: one call if it is full, two while it fills, three if it lies ahead (`debit`)."""
        cost, latest = count * REFILL, now + LONGEST_DEBT
        last = ("full_at + :cost", "attribute_exists(full_at)", {":cost": fast_items.span(cost)})
        for value, condition, values in (
            (
                ":then",
                "attribute_not_exists(full_at) OR full_at <= :now",
                {":then": fast_items.seconds(now + cost), ":now": fast_items.seconds(now)},
            ),
            (
                "full_at + :cost",
                "full_at <= :latest",
                {":cost": fast_items.span(cost), ":latest": fast_items.seconds(latest)},
            ),
            (
                ":then",
                "full_at > :latest",
                {
                    ":then": fast_items.seconds(debit(latest, count, now=now)),
                    ":latest": fast_items.seconds(latest),
                },
            ),
        ):
            try:
                return self._set_full_at(kind, value, condition, values)
            except Superseded:
                continue
        return self._set_full_at(kind, *last)

    def _set_full_at(self, kind: str, value: str, condition: str, values: Item) -> datetime:
        with aws_errors():
            answer = self._client.update_item(
                TableName=self._table,
                Key=spelt(fast_items.key(fast_items.BUCKET, kind)),
                UpdateExpression=f"SET full_at = {value}",
                ConditionExpression=condition,
                ReturnValues="ALL_NEW",
                **valued(values),
            )
        return datetime.fromtimestamp(float(read(answer["Attributes"])["full_at"]), tz=UTC)
