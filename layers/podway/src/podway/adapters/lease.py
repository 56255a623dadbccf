"""Takes the one writer's lease in the table: for a run of reconcile (`dynamodb`) or a command (`ledger`)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from podway.adapters import fast_items
from podway.adapters.aws_errors import aws_errors
from podway.adapters.table import named, read, spelt, valued
from podway.app.errors import Superseded
from podway.app.ports import LONGEST_LEASE, RELEASED


def hold_lease(
    client: Any, table: str, owner: str, *, now: datetime, until: datetime, is_run: bool = False
) -> bool:
    """Take the lease if nobody holds it, *owner* does, or it has expired; a run also notes when it began.

    One that ends later than any can is cut: its writer's clock is ahead, and it may have been killed.
    """
    began, names = (
        (", #began = :now", ("owner", "expires", "began")) if is_run else ("", ("owner", "expires"))
    )
    with aws_errors():
        try:
            client.update_item(
                TableName=table,
                Key=spelt(fast_items.LEASE),
                UpdateExpression=f"SET #owner = :owner, #expires = :until{began}",
                ConditionExpression="attribute_not_exists(pk) OR #expires < :now OR #owner = :owner",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **named(*names),
                **valued(
                    {
                        ":owner": owner,
                        ":until": fast_items.seconds(until),
                        ":now": fast_items.seconds(now),
                    }
                ),
            )
        except client.exceptions.ConditionalCheckFailedException as refusal:
            held = read(refusal.response.get("Item", {}))
        else:
            return True
    latest = fast_items.seconds(now + LONGEST_LEASE)
    if held.get("owner") != RELEASED and held.get("expires", 0) > latest:
        _cut(client, table, {":latest": latest, ":owner": held.get("owner"), ":expires": held["expires"]})
    return False


def _cut(client: Any, table: str, values: dict[str, Any]) -> None:
    """Have the lease end at *:latest*, unless it is another's by now."""
    try:
        with aws_errors():
            client.update_item(
                TableName=table,
                Key=spelt(fast_items.LEASE),
                UpdateExpression="SET #expires = :latest",
                ConditionExpression="#owner = :owner AND #expires = :expires",
                **named("owner", "expires"),
                **valued(values),
            )
    except Superseded:
        return
