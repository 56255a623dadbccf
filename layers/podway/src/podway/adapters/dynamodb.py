"""The store as reconcile, lifecycle and the operator use it: one DynamoDB table. Nothing depends on TTL.

``inventory`` subnets, members, released space, epoch · ``routes`` destinations recorded as ours, by table ·
``cards`` failover cards · ``verdicts`` evidence against nodes · ``snapshot#SUBNET`` the map for its agents ·
``USERID`` what an agent wrote · ``lease`` the one writer · ``bucket`` route calls that EC2 still allows ·
``hooks`` lifecycle hooks that wait · ``history#DAY`` who moved where, when, why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from podway.adapters import fast_items, items
from podway.adapters.aws_errors import aws_errors, part
from podway.adapters.fast_store import TRANSACTION_ITEMS, FastStore
from podway.adapters.lease import hold_lease
from podway.adapters.table import chunks, named, read, spelt, valued
from podway.app.errors import Superseded
from podway.domain.addressing import Prefix
from podway.domain.inventory import Epoch, Member, ReleasedSpace
from podway.domain.members.maps import SubnetMap
from podway.domain.run.memory import AgentReport, Memory
from podway.wire.agent_item import AGENTS, INDEX
from podway.wire.snapshot import PackedSnapshot, SnapshotRefused, pack, unpack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    Item = Mapping[str, Any]


MOST_PAGES = 64
"""Pages of a megabyte that a run reads of agents' items: 20,000 nodes fill some ten to twenty."""
MOST_DOUBTS = 20
"""Refused items that are named."""


class DynamoStore(FastStore):
    """The Store port over a DynamoDB client."""

    def __init__(self, client: DynamoDBClient, *, table: str, cluster: str) -> None:
        super().__init__(client, table=table)
        self._cluster = cluster

    # The one writer

    def acquire_lease(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Take the lease if nobody holds it, *owner* does, or it has expired."""
        return hold_lease(self._client, self._table, owner, now=now, until=until, is_run=True)

    def release_lease(self, owner: str) -> None:
        """Let the next writer in."""
        try:
            self._update(
                fast_items.LEASE,
                "REMOVE #owner SET #expires = :zero",
                condition="#owner = :owner",
                values={":owner": owner, ":zero": 0},
                names=("owner", "expires"),
            )
        except Superseded:
            return  # it expired, and another writer took it

    # What reconcile reads

    def recall(self) -> Memory:
        """Everything that reconcile needs. All reads are strongly consistent except the agents' index."""
        inventory = tuple(self._query(fast_items.INVENTORY))
        members, supernets = _members(inventory), _supernets(inventory)
        cards = [fast_items.read_card(item) for item in self._query(fast_items.CARDS)]  # before the verdicts
        subnets = sorted({member.subnet for member in members} | supernets.keys())
        maps = {subnet: self._map(subnet) for subnet in subnets}
        reports, doubts = self._reports()
        return Memory(
            members=members,
            supernets=supernets,
            records={
                item["sk"]: frozenset(Prefix.parse(one) for one in item["destinations"])
                for item in self._query(fast_items.ROUTES)
            },
            verdicts=self.verdicts(),
            cards={card.node: card for card in cards},
            reports=reports,
            doubts=doubts,
            maps={subnet: found for subnet, found in maps.items() if found},
            hooks={item["sk"]: fast_items.read_hook(item) for item in self._query(fast_items.HOOKS)},
            released=tuple(items.read_leaving(item) for item in inventory if "leaving" in item),
            given_back=next(
                (items.read_given_back(item) for item in inventory if "given_back" in item), None
            ),
            epoch=next((items.read_epoch(item) for item in inventory if "epoch" in item), None),
        )

    def members(self) -> tuple[Member, ...]:
        """The inventory's members."""
        return _members(self._query(fast_items.INVENTORY))

    def supernets(self) -> Mapping[str, tuple[Prefix, ...]]:
        """The inventory's supernets, by subnet."""
        return _supernets(self._query(fast_items.INVENTORY))

    def _reports(self) -> tuple[dict[str, AgentReport], tuple[str, ...]]:
        """The agents' reports, and what is wrong with those that are refused or were not read."""
        page, read_so_far = self._speakers(""), 0
        reports: dict[str, AgentReport] = {}
        refused: dict[str, str] = {}
        while part(page, "Items") and read_so_far < MOST_PAGES:
            read_so_far += 1
            for item in map(read, page["Items"]):
                try:
                    report = items.read_report(item)
                except ValueError as error:
                    refused[item["pk"]] = str(error)
                else:
                    reports[report.instance] = report
            if "LastEvaluatedKey" not in page:
                page = {"Items": []}
            else:
                page = self._speakers(read(page["LastEvaluatedKey"])["pk"])
        return reports, _doubts(refused, is_cut_short=bool(page["Items"]))

    def _speakers(self, after: str) -> Mapping[str, Any]:
        """A page of the agents' items, from the first speaker *after* that one on.

        Each agent has one item. So a page goes on with the next speaker, whatever a node has put under its
        key: that costs a page at most, and hides nobody else.
        """
        with aws_errors():
            answer: Mapping[str, Any] = self._client.query(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="#reports = :agents AND #pk > :after",
                **named("reports", "pk"),
                **valued({":agents": AGENTS, ":after": after or " "}),
            )
        return answer

    def _map(self, subnet: str) -> SubnetMap | None:
        item = self._get(items.snapshot_key(subnet, items.SNAPSHOT_BODY))
        if item is None:
            return None
        packed = PackedSnapshot(
            generation=int(item["generation"]),
            epoch=int(item.get("epoch", 1)),
            checksum=item["checksum"],
            body=item["body"],
        )
        try:
            return items.read_snapshot(unpack(packed, cluster=self._cluster, subnet=subnet))
        except SnapshotRefused:  # written by another version: the next generation replaces it
            return SubnetMap(
                self._cluster, subnet, (), (), (), (), (), (), packed.generation, epoch=packed.epoch
            )

    # What reconcile writes

    def save_inventory(
        self,
        owner: str,
        *,
        members: Iterable[Member],
        forgotten: Iterable[str],
        supernets: Mapping[str, tuple[Prefix, ...]],
        released: Iterable[ReleasedSpace] = (),
        reclaimed: Iterable[Prefix] = (),
        given_back: datetime | None = None,
    ) -> None:
        """Write in transactions of up to a hundred items, each under the lease."""
        writes = [
            *([self._put_action(items.given_back_item(given_back))] if given_back else []),
            *(self._delete_action(items.leaving_key(prefix)) for prefix in reclaimed),
            *(self._put_action(items.leaving_item(one)) for one in released),
            *(self._put_action(items.supernets_item(*one)) for one in sorted(supernets.items())),
            *(self._put_action(items.member_item(member)) for member in members),
            *(self._delete_action(items.node_key(node)) for node in forgotten),
        ]
        self._write_under_lease(owner, writes)

    # The store's epoch

    def table_id(self) -> str:
        """The table's TableId, by DescribeTable: a table may be restored while the process lives."""
        with aws_errors():
            answer = self._client.describe_table(TableName=self._table)
            return str(part(answer, "Table").get("TableId", ""))

    def save_epoch(self, owner: str, epoch: Epoch) -> None:
        """Write the epoch, beside the inventory."""
        self._write_under_lease(owner, [self._put_action(items.epoch_item(epoch))])

    def announce_epoch(self, subnet: str, epoch: int) -> None:
        """Write the epoch into the version item, which stays of the map that there is, if any."""
        with contextlib.suppress(Superseded):  # its agents know it
            self._update(
                items.snapshot_key(subnet, items.SNAPSHOT_VERSION),
                "SET #epoch = :epoch, #generation = if_not_exists(#generation, :none), "
                "#checksum = if_not_exists(#checksum, :empty)",
                condition="attribute_not_exists(#epoch) OR #epoch < :epoch",
                values={":epoch": epoch, ":none": 0, ":empty": ""},
                names=("epoch", "generation", "checksum"),
            )

    def drop_buckets(self) -> None:
        """Delete the buckets. Each is full until calls are debited."""
        for item in self._query(fast_items.BUCKET):
            with aws_errors():
                self._client.delete_item(
                    TableName=self._table, Key=spelt(fast_items.key(fast_items.BUCKET, item["sk"]))
                )

    def record_routes(self, owner: str, table: str, destinations: frozenset[Prefix]) -> None:
        """Replace the record of what is ours in *table*."""
        item = {
            **fast_items.key(fast_items.ROUTES, table),
            "destinations": [str(one) for one in sorted(destinations)],
        }
        self._write_under_lease(owner, [self._put_action(item)])

    def publish_map(self, subnet_map: SubnetMap, *, now: datetime) -> None:
        """Write body and version in one transaction, if the stored epoch and generation are older.

        Maps from before there were epochs do not say one: they are of the first.
        """
        packed = pack(items.to_snapshot(subnet_map, now=now))
        in_first = "attribute_not_exists(epoch) AND (:epoch > :first OR generation < :generation)"
        newer = {
            "ConditionExpression": f"attribute_not_exists(pk) OR epoch < :epoch OR ({in_first}) "
            "OR (epoch = :epoch AND generation < :generation)",
            "ExpressionAttributeValues": spelt(
                {":generation": packed.generation, ":epoch": packed.epoch, ":first": 1}
            ),
        }
        subnet = subnet_map.subnet
        stamp = {"generation": packed.generation, "epoch": packed.epoch, "checksum": packed.checksum}
        body = {**items.snapshot_key(subnet, items.SNAPSHOT_BODY), **stamp, "body": packed.body}
        version = {**items.snapshot_key(subnet, items.SNAPSHOT_VERSION), **stamp}
        self._transact([self._put_action(body, **newer), self._put_action(version, **newer)])

    def _write_under_lease(self, owner: str, writes: Sequence[Item]) -> None:
        """Write in transactions that check the lease. Raises Superseded when *owner* has lost it."""
        held = {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": spelt(fast_items.LEASE),
                "ConditionExpression": "#owner = :owner",
                **named("owner"),
                **valued({":owner": owner}),
            }
        }
        for chunk in chunks(writes, TRANSACTION_ITEMS - 1):
            self._transact([held, *chunk])


def _members(inventory: Iterable[Item]) -> tuple[Member, ...]:
    return tuple(items.read_member(item) for item in inventory if "node" in item)


def _supernets(inventory: Iterable[Item]) -> dict[str, tuple[Prefix, ...]]:
    return {
        item["subnet"]: tuple(Prefix.parse(one) for one in item["supernets"])
        for item in inventory
        if "supernets" in item
    }


def _doubts(refused: Mapping[str, str], *, is_cut_short: bool) -> tuple[str, ...]:
    """A sentence for each refused item, up to MOST_DOUBTS, and for a reading that ended early."""
    named_ones = [f"the item of {pk} is refused: {why}" for pk, why in sorted(refused.items())[:MOST_DOUBTS]]
    if more := len(refused) - len(named_ones):
        named_ones.append(f"the items of {more} more nodes are refused")
    if is_cut_short:
        named_ones.append(f"agents' items fill more than {MOST_PAGES} pages: the rest counts as unheard")
    return tuple(named_ones)
