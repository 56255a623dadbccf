"""Calls to one DynamoDB table. The base of `fast_store` and `dynamodb`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podway.adapters.aws_errors import aws_errors, part
from podway.wire.attributes import plain_item, spelt_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    Item = Mapping[str, Any]


def spelt(item: Item) -> dict[str, Any]:
    """The item as DynamoDB takes it."""
    return spelt_item(item)


def read(item: Item) -> dict[str, Any]:
    """The item that DynamoDB gave."""
    return plain_item(item)


class Table:
    """One table, and the few kinds of call that are made to it."""

    def __init__(self, client: DynamoDBClient, *, table: str) -> None:
        self._client: Any = client  # conditions and values are built as mappings, which the types refuse
        self._table = table

    def _get(self, where: Mapping[str, str]) -> dict[str, Any] | None:
        with aws_errors():
            answer = self._client.get_item(TableName=self._table, Key=spelt(where), ConsistentRead=True)
        return read(answer["Item"]) if "Item" in answer else None

    def _query(self, pk: str) -> Iterator[dict[str, Any]]:
        return self._pages("query", ConsistentRead=True, **equals("pk", pk))

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with aws_errors():
            for page in self._client.get_paginator(operation).paginate(TableName=self._table, **arguments):
                yield from (read(item) for item in part(page, "Items"))

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
                Key=spelt(where),
                UpdateExpression=expression,
                ConditionExpression=condition,
                **named(*names),
                **valued(values),
            )

    def _put_action(self, item: Item, **condition: Any) -> Item:
        return {"Put": {"TableName": self._table, "Item": spelt(item), **condition}}

    def _delete_action(self, where: Mapping[str, str]) -> Item:
        return {"Delete": {"TableName": self._table, "Key": spelt(where)}}

    def _transact(self, writes: Sequence[Item]) -> None:
        with aws_errors():
            self._client.transact_write_items(TransactItems=list(writes))


def equals(name: str, value: str) -> dict[str, Any]:
    """A key condition: attribute *name* equals *value*."""
    return {"KeyConditionExpression": "#key = :key"} | {
        "ExpressionAttributeNames": {"#key": name},
        **valued({":key": value}),
    }


def named(*names: str) -> dict[str, Any]:
    """Placeholders for attribute names: some are reserved words."""
    return {"ExpressionAttributeNames": {f"#{name}": name for name in names}}


def valued(values: Item) -> dict[str, Any]:
    """Values for the placeholders of an expression."""
    return {"ExpressionAttributeValues": spelt(values)}


def chunks(writes: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Parts of at most *size* writes: a transaction has its limit."""
    return (writes[at : at + size] for at in range(0, len(writes), size))
