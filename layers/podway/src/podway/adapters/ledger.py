"""What the operator's commands need of the table beyond the Store port: the lease, and the history.

Called by `app.operator` and `app.restore`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from podway.adapters import fast_items
from podway.adapters.aws_errors import aws_errors, part
from podway.adapters.lease import hold_lease
from podway.app.ledger import Lease
from podway.app.ports import HistoryEntry
from podway.wire.attributes import plain_item, spelt_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DynamoLedger:
    """The Ledger port over a DynamoDB client."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client: Any = client  # keys and values are built as mappings, which the types refuse
        self._table = table

    def lease(self) -> Lease:
        """The lease, by a strongly consistent read."""
        key = spelt_item(fast_items.LEASE)
        with aws_errors():
            found = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        item = plain_item(found)
        return Lease(item.get("owner"), _moment(item.get("expires")), _moment(item.get("began")))

    def hold(self, owner: str, *, now: datetime, until: datetime) -> bool:
        """Take the lease as a run of reconcile does, but without the time when a run began."""
        return hold_lease(self._client, self._table, owner, now=now, until=until)

    def history(self, since: datetime, until: datetime) -> Iterator[HistoryEntry]:
        """The entries of that time, by one query a day. Keys begin with the time, so they come in order."""
        day = since.astimezone(UTC).date()
        while day <= until.astimezone(UTC).date():
            for item in self._day(f"history#{day:%Y-%m-%d}"):
                entry = fast_items.read_history(item)
                if since <= entry.at <= until:
                    yield entry
            day += timedelta(days=1)

    def _day(self, pk: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=spelt_item({":pk": pk}),
        )
        with aws_errors():
            for page in pages:
                for item in part(page, "Items"):
                    yield plain_item(item)


def _moment(seconds: Decimal | int | None) -> datetime | None:
    return datetime.fromtimestamp(float(seconds), tz=UTC) if seconds else None
