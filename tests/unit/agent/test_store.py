from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import pack
from podway_agent.store import DynamoDbStore, StoreAway, StoreRefused, Version

from tests.unit.agent.snapshots import NOON, SUBNET, snapshot

TABLE = "podway"
ITEM = AgentItem(
    pk="AROAX:i-0a",
    instance="i-0a",
    subnet=SUBNET,
    generation=3,
    heartbeat=NOON,
    cause="heartbeat",
    version="1.2",
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = boto3.client("dynamodb", region_name="us-west-2")
        made.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        )
        yield made


def put(client: Any, sort_key: str, **fields: Any) -> None:
    key = {"pk": {"S": f"snapshot#{SUBNET}"}, "sk": {"S": sort_key}}
    client.put_item(TableName=TABLE, Item={**key, **fields})


def test_before_the_first_snapshot_there_is_nothing(client: Any) -> None:
    store = DynamoDbStore(client, TABLE)

    assert store.version(SUBNET) is None
    assert store.body(SUBNET) is None


def test_version_and_body_are_read(client: Any) -> None:
    packed = pack(snapshot(generation=5))
    shared = {"generation": {"N": "5"}, "checksum": {"S": packed.checksum}}
    put(client, "version", **shared)
    put(client, "body", **shared, body={"B": packed.body})
    store = DynamoDbStore(client, TABLE)

    assert store.version(SUBNET) == Version(5, packed.checksum)
    assert store.body(SUBNET) == packed


@pytest.mark.parametrize("sort_key", ["version", "body"])
def test_a_damaged_item_is_a_store_that_is_away(client: Any, sort_key: str) -> None:
    put(client, sort_key, generation={"N": "5"})
    store = DynamoDbStore(client, TABLE)

    with pytest.raises(StoreAway, match="damaged"):
        store.version(SUBNET) if sort_key == "version" else store.body(SUBNET)


def test_the_report_is_the_item_that_the_control_plane_reads(client: Any) -> None:
    DynamoDbStore(client, TABLE).report(ITEM)

    stored = client.get_item(TableName=TABLE, Key={"pk": {"S": ITEM.pk}, "sk": {"S": "agent"}})["Item"]
    assert stored["suspecting"] == {"BOOL": False}
    plain = {name: next(iter(value.values())) for name, value in stored.items()}
    assert AgentItem.model_validate(plain) == ITEM


def test_a_table_that_is_not_there_is_a_store_that_is_away(client: Any) -> None:
    with pytest.raises(StoreAway, match="ResourceNotFound"):
        DynamoDbStore(client, "other").version(SUBNET)


class Broken:
    """A client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def put_item(self, **_: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "PutItem"), StoreRefused),
        (ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "PutItem"), StoreAway),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), StoreAway),
    ],
)
def test_errors_are_named_by_what_to_do(error: Exception, kind: type[StoreAway]) -> None:
    with pytest.raises(StoreAway) as caught:
        DynamoDbStore(Broken(error), TABLE).report(ITEM)
    assert type(caught.value) is kind
