"""The store: one DynamoDB table. Writes are conditional; nothing depends on TTL.

``inventory`` subnets and members · ``routes`` what we recorded as ours · ``cards`` failover cards ·
``verdicts`` evidence · ``snapshot#SUBNET`` what agents read · ``USERID`` what an agent wrote ·
``lease`` the one writer · ``history#DAY`` who moved where, when, why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from podway.adapters import items
from podway.adapters.aws_errors import aws_errors
from podway.app.errors import Superseded, TryAgain
from podway.app.ports import AgentReport, ClaimAnswer, Memory, Remark
from podway.domain.addressing import Prefix
from podway.domain.failover import Card, CardRoute, Claim
from podway.domain.handout import SubnetMap
from podway.domain.health import Verdict
from podway.domain.members import Member
from podway.wire.agent_item import AGENTS
from podway.wire.snapshot import PackedSnapshot, SnapshotRefused, pack, unpack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    Item = Mapping[str, Any]

HISTORY_KEPT = timedelta(days=90)
TRANSACTION_ITEMS = 100
"""Most actions of one transaction (DynamoDB's limit)."""
TRIES = 10
"""How often a read-change-write is repeated against interference before it is left to a retry."""

_SERIALIZE = TypeSerializer().serialize
_DESERIALIZE = TypeDeserializer().deserialize


def _spelt(item: Item) -> dict[str, Any]:
    return {name: _SERIALIZE(value) for name, value in item.items()}


def _read(item: Item) -> dict[str, Any]:
    return {name: _DESERIALIZE(value) for name, value in item.items()}


class DynamoStore:
    """The Store port over a DynamoDB client."""

    def __init__(self, client: DynamoDBClient, *, table: str, cluster: str) -> None:
        self._client: Any = client  # conditions and values are built as mappings, which the types refuse
        self._table, self._cluster = table, cluster

    # The one writer

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Take the lease if nobody holds it, or its holder's time is over."""
        try:
            self._update(
                items.LEASE,
                "SET #owner = :owner, #expires = :until, #began = :now",
                condition="attribute_not_exists(pk) OR #expires < :now OR #owner = :owner",
                values={":owner": owner, ":until": items.seconds(until), ":now": items.seconds(now)},
                names=("owner", "expires", "began"),
            )
        except Superseded:
            return False
        return True

    def release_lease(self, owner: str) -> None:
        """Let the next writer in."""
        try:
            self._update(
                items.LEASE,
                "REMOVE #owner SET #expires = :zero",
                condition="#owner = :owner",
                values={":owner": owner, ":zero": 0},
                names=("owner", "expires"),
            )
        except Superseded:
            return  # it expired, and somebody else holds it

    # What reconcile reads

    def recall(self) -> Memory:
        """Everything that reconcile needs, strongly consistent but for the agents' index."""
        inventory = tuple(self._query(items.INVENTORY))
        members, supernets = _members(inventory), _supernets(inventory)
        cards = [items.read_card(item) for item in self._query(items.CARDS)]  # before the verdicts
        subnets = sorted({member.subnet for member in members} | supernets.keys())
        maps = {subnet: self._map(subnet) for subnet in subnets}
        return Memory(
            members=members,
            supernets=supernets,
            records={
                item["sk"]: frozenset(Prefix.parse(one) for one in item["destinations"])
                for item in self._query(items.ROUTES)
            },
            verdicts=self.verdicts(),
            cards={card.node: card for card in cards},
            reports=self._reports(),
            maps={subnet: found for subnet, found in maps.items() if found},
        )

    def members(self) -> tuple[Member, ...]:
        """The inventory's members."""
        return _members(self._query(items.INVENTORY))

    def supernets(self) -> Mapping[str, tuple[Prefix, ...]]:
        """The inventory's supernets, by subnet."""
        return _supernets(self._query(items.INVENTORY))

    def verdicts(self) -> Mapping[str, Verdict]:
        """All verdicts; only nodes with evidence, or with some lately, have one."""
        found = (items.read_verdict(item) for item in self._query(items.VERDICTS))
        return {verdict.instance: verdict for verdict in found}

    def _reports(self) -> dict[str, AgentReport]:
        found = self._pages("query", IndexName=AGENTS, **_equals("reports", AGENTS))
        reports: dict[str, AgentReport] = {}
        for item in found:
            try:
                report = items.read_report(item)
            except ValueError:
                continue  # a node can spoil its own item, and then counts as silent
            reports[report.instance] = report
        return reports

    def _map(self, subnet: str) -> SubnetMap | None:
        item = self._get(items.snapshot_key(subnet, items.SNAPSHOT_BODY))
        if item is None:
            return None
        packed = PackedSnapshot(
            generation=int(item["generation"]), checksum=item["checksum"], body=item["body"].value
        )
        try:
            return items.read_snapshot(unpack(packed, cluster=self._cluster, subnet=subnet))
        except SnapshotRefused:  # written by another version: the next generation replaces it
            return SubnetMap(self._cluster, subnet, (), (), (), (), (), (), packed.generation)

    # What reconcile writes

    def save_inventory(
        self,
        owner: str,
        *,
        members: Iterable[Member],
        forgotten: Iterable[str],
        supernets: Mapping[str, tuple[Prefix, ...]],
    ) -> None:
        """All or nothing per hundred items, and only under the lease."""
        writes = [
            *(self._put_action(items.supernets_item(*one)) for one in sorted(supernets.items())),
            *(self._put_action(items.member_item(member)) for member in members),
            *(self._delete_action(items.node_key(node)) for node in forgotten),
        ]
        self._write_under_lease(owner, writes)

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        """What is ours in *table*."""
        item = {**items.key(items.ROUTES, table), "destinations": [str(one) for one in sorted(destinations)]}
        self._write_under_lease(owner, [self._put_action(item)])

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        """Body and version at once; never an older generation over a newer."""
        packed = pack(items.to_snapshot(subnet_map, now=now))
        newer = {
            "ConditionExpression": "attribute_not_exists(pk) OR generation < :generation",
            "ExpressionAttributeValues": _spelt({":generation": packed.generation}),
        }
        subnet, stamp = subnet_map.subnet, {"generation": packed.generation, "checksum": packed.checksum}
        body = {**items.snapshot_key(subnet, items.SNAPSHOT_BODY), **stamp, "body": packed.body}
        version = {**items.snapshot_key(subnet, items.SNAPSHOT_VERSION), **stamp}
        self._transact([self._put_action(body, **newer), self._put_action(version, **newer)])

    def remember(self, remarks: Iterable[Remark]) -> None:
        """Append to the history."""
        writes = [
            self._put_action(
                items.remark_item(
                    remark, number=number, keep_until=int((remark.at + HISTORY_KEPT).timestamp())
                )
            )
            for number, remark in enumerate(remarks)
        ]
        for chunk in _chunks(writes, TRANSACTION_ITEMS):
            self._transact(chunk)

    # Cards

    def put_card(self, card: Card) -> bool:
        """Rewrite the card that was read as *card.version*, without a claim."""
        unchanged = {
            "ConditionExpression": "version = :version",
            **_valued({":version": card.version}),
        }
        item = items.card_item(replace(card, version=card.version + 1))
        try:
            with aws_errors():
                self._client.put_item(
                    TableName=self._table,
                    Item=_spelt(item),
                    **(unchanged if card.version else {"ConditionExpression": "attribute_not_exists(pk)"}),
                )
        except Superseded:
            return False
        return True

    def remove_card(self, node: str) -> None:
        """Forget the card of a node that is gone for good."""
        with aws_errors():
            self._client.delete_item(TableName=self._table, Key=_spelt(items.key(items.CARDS, node)))

    def claim_card(self, node: str, claim: Claim, *, now: datetime) -> tuple[ClaimAnswer, Card | None]:
        """One conditional update that answers with the card, whoever wins."""
        may_take_over = "#claim.#event = :event OR #claim.#severity < :severity OR #claim.#expires < :now"
        undone = f"attribute_not_exists(#claim) OR (#claim.#done = :false AND ({may_take_over}))"
        with aws_errors():
            try:
                answer = self._client.update_item(
                    TableName=self._table,
                    Key=_spelt(items.key(items.CARDS, node)),
                    UpdateExpression="SET #claim = :claim, #version = #version + :one",
                    ConditionExpression=f"attribute_exists(pk) AND ({undone})",
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **_named("claim", "event", "severity", "expires", "done", "version"),
                    **_valued(
                        {
                            ":claim": items.claim_item(claim),
                            ":event": claim.event,
                            ":severity": int(claim.severity),
                            ":now": items.seconds(now),
                            ":false": False,
                            ":one": 1,
                        }
                    ),
                )
            except self._client.exceptions.ConditionalCheckFailedException as refusal:
                return self._refused_claim(refusal.response.get("Item"))
        return ClaimAnswer.CLAIMED, items.read_card(_read(answer["Attributes"]))

    @staticmethod
    def _refused_claim(item: Item | None) -> tuple[ClaimAnswer, Card | None]:
        if not item:
            return ClaimAnswer.NOT_A_MEMBER, None
        card = items.read_card(_read(item))
        done = card.claim is not None and card.claim.done
        return (ClaimAnswer.DONE if done else ClaimAnswer.TAKEN), card

    def finish_card(self, card: Card) -> bool:
        """Mark the claim done; not if somebody took it over or gave the node more routes meanwhile."""
        assert card.claim is not None
        try:
            self._update(
                items.key(items.CARDS, card.node),
                "SET #claim.#done = :true",
                condition="#claim.#event = :event AND #version = :version",
                values={":true": True, ":event": card.claim.event, ":version": card.version},
                names=("claim", "done", "event", "version"),
            )
        except Superseded:
            return False
        return True

    def extend_card(self, node: str, routes: Sequence[CardRoute]) -> None:
        """Append to the routes of a card, whoever acts on it; a claim that is done is lifted."""
        append = "SET #routes = list_append(#routes, :routes), #version = #version + :one"
        values = {":routes": [items.card_route_item(one) for one in routes], ":one": 1}
        where = items.key(items.CARDS, node)
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

    def change_verdict(self, instance: str, subnet: str, change: Callable[[Verdict], Verdict]) -> Verdict:
        """Read, change, write if nobody wrote between; repeated, and then left to the caller's retry."""
        where = items.key(items.VERDICTS, instance)
        for _ in range(TRIES):
            item = self._get(where)
            before = items.read_verdict(item) if item else Verdict(instance, subnet)
            after = change(before)
            if after == before:
                return after
            revision = int(item["revision"]) if item else 0
            try:
                with aws_errors():
                    self._client.put_item(
                        TableName=self._table,
                        Item=_spelt(items.verdict_item(after) | {"revision": revision + 1}),
                        ConditionExpression="revision = :revision" if item else "attribute_not_exists(pk)",
                        **(_valued({":revision": revision}) if item else {}),
                    )
            except Superseded:
                continue
            return after
        raise TryAgain(f"the verdict on {instance} is changing too fast")

    def forget_verdict(self, verdict: Verdict) -> None:
        """Remove a verdict that is still as it was read."""
        item = items.verdict_item(verdict)
        compared = ("evidence", "flaps", "held_until", "withdrawn")
        try:
            with aws_errors():
                self._client.delete_item(
                    TableName=self._table,
                    Key=_spelt(items.key(items.VERDICTS, verdict.instance)),
                    ConditionExpression=" AND ".join(f"#{name} = :{name}" for name in compared),
                    **_named(*compared),
                    **_valued({f":{name}": item[name] for name in compared}),
                )
        except Superseded:
            return  # somebody has spoken since, or forgot it before us

    # DynamoDB's own words

    def _get(self, where: Mapping[str, str]) -> dict[str, Any] | None:
        with aws_errors():
            answer = self._client.get_item(TableName=self._table, Key=_spelt(where), ConsistentRead=True)
        return _read(answer["Item"]) if "Item" in answer else None

    def _query(self, pk: str) -> Iterator[dict[str, Any]]:
        return self._pages("query", ConsistentRead=True, **_equals("pk", pk))

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with aws_errors():
            for page in self._client.get_paginator(operation).paginate(TableName=self._table, **arguments):
                yield from (_read(item) for item in page["Items"])

    def _update(
        self,
        where: Mapping[str, str],
        expression: str,
        *,
        condition: str,
        values: Item,
        names: Sequence[str],
    ) -> None:
        with aws_errors():
            self._client.update_item(
                TableName=self._table,
                Key=_spelt(where),
                UpdateExpression=expression,
                ConditionExpression=condition,
                **_named(*names),
                **_valued(values),
            )

    def _put_action(self, item: Item, **condition: Any) -> Item:
        return {"Put": {"TableName": self._table, "Item": _spelt(item), **condition}}

    def _delete_action(self, where: Mapping[str, str]) -> Item:
        return {"Delete": {"TableName": self._table, "Key": _spelt(where)}}

    def _write_under_lease(self, owner: str, writes: Sequence[Item]) -> None:
        """Transactions that fail with Superseded when *owner* has lost the lease."""
        held = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _spelt(items.LEASE),
                "ConditionExpression": "#owner = :owner",
                **_named("owner"),
                **_valued({":owner": owner}),
            }
        }
        for chunk in _chunks(writes, TRANSACTION_ITEMS - 1):
            self._transact([held, *chunk])

    def _transact(self, writes: Sequence[Item]) -> None:
        with aws_errors():
            self._client.transact_write_items(TransactItems=list(writes))


def _members(inventory: Iterable[Item]) -> tuple[Member, ...]:
    return tuple(items.read_member(item) for item in inventory if "node" in item)


def _supernets(inventory: Iterable[Item]) -> dict[str, tuple[Prefix, ...]]:
    return {
        item["subnet"]: tuple(Prefix.parse(one) for one in item["supernets"])
        for item in inventory
        if "node" not in item
    }


def _equals(name: str, value: str) -> dict[str, Any]:
    return {"KeyConditionExpression": "#key = :key"} | {
        "ExpressionAttributeNames": {"#key": name},
        **_valued({":key": value}),
    }


def _named(*names: str) -> dict[str, Any]:
    """Placeholders for attribute names: some are reserved words."""
    return {"ExpressionAttributeNames": {f"#{name}": name for name in names}}


def _valued(values: Item) -> dict[str, Any]:
    return {"ExpressionAttributeValues": _spelt(values)}


def _chunks(writes: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (writes[at : at + size] for at in range(0, len(writes), size))
