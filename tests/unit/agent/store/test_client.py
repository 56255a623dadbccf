from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import boto3
import pytest
from moto.server import ThreadedMotoServer
from podway.wire.agent_item import AgentItem
from podway.wire.attributes import plain_item
from podway.wire.snapshot import pack
from podway_agent.store.client import (
    Cloud,
    CloudRequest,
    DynamoDbStore,
    StoreAway,
    StoreRefused,
    Version,
    endpoint_url,
)

from tests.unit.agent.snapshots import NOON, SUBNET, snapshot

TABLE = "podway"
REGION = "us-west-2"
ITEM = AgentItem(
    pk="AROAX:i-0a",
    instance="i-0a",
    subnet=SUBNET,
    generation=3,
    heartbeat=NOON,
    cause="heartbeat",
    causes=("heartbeat",),
    version="1.2",
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", server)
    made = boto3.client("dynamodb", region_name=REGION)
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
    made.delete_table(TableName=TABLE)


@pytest.fixture
def store(client: Any) -> DynamoDbStore:
    return DynamoDbStore(Cloud(), TABLE, region=REGION, endpoint="")


def put(client: Any, sort_key: str, **fields: Any) -> None:
    key = {"pk": {"S": f"snapshot#{SUBNET}"}, "sk": {"S": sort_key}}
    client.put_item(TableName=TABLE, Item={**key, **fields})


def test_before_the_first_snapshot_there_is_nothing(store: DynamoDbStore) -> None:
    assert store.version(SUBNET) is None
    assert store.body(SUBNET) is None


def test_version_and_body_are_read(client: Any, store: DynamoDbStore) -> None:
    packed = pack(snapshot(generation=5))
    shared = {"generation": {"N": "5"}, "checksum": {"S": packed.checksum}}
    put(client, "version", **shared)
    put(client, "body", **shared, body={"B": packed.body})

    assert store.version(SUBNET) == Version(5, packed.checksum)
    assert store.body(SUBNET) == packed


@pytest.mark.parametrize("sort_key", ["version", "body"])
def test_a_damaged_item_is_a_store_that_is_away(client: Any, store: DynamoDbStore, sort_key: str) -> None:
    put(client, sort_key, generation={"N": "5"})

    with pytest.raises(StoreAway, match="damaged"):
        store.version(SUBNET) if sort_key == "version" else store.body(SUBNET)


def test_the_report_is_the_item_that_the_control_plane_reads(client: Any, store: DynamoDbStore) -> None:
    store.report(ITEM)

    stored = client.get_item(TableName=TABLE, Key={"pk": {"S": ITEM.pk}, "sk": {"S": "agent"}})["Item"]
    assert stored["suspecting"] == {"BOOL": False}
    assert AgentItem.model_validate(plain_item(stored)) == ITEM


def test_a_table_that_is_not_there_is_a_store_that_is_away(client: Any) -> None:
    with pytest.raises(StoreAway, match="ResourceNotFound"):
        DynamoDbStore(Cloud(), "other", region=REGION, endpoint="").version(SUBNET)


@dataclass
class Answering:
    """A cloud that always gives the same answer."""

    status: int
    text: str

    def send(self, _: CloudRequest) -> tuple[int, str]:
        return self.status, self.text


@pytest.mark.parametrize(
    ("status", "text", "kind", "said"),
    [
        (400, '{"__type": "com.amazon.coral#AccessDeniedException", "Message": "no"}', StoreRefused, "no"),
        (
            400,
            '{"__type": "x#ThrottlingException", "message": "slow"}',
            StoreAway,
            "ThrottlingException slow",
        ),
        (503, "<html>", StoreAway, "status 503"),
        (200, "[]", StoreAway, "status 200"),
    ],
)
def test_errors_are_named_by_what_to_do(status: int, text: str, kind: type[StoreAway], said: str) -> None:
    cloud = cast("Cloud", Answering(status, text))

    with pytest.raises(StoreAway, match=said) as caught:
        DynamoDbStore(cloud, TABLE, region=REGION, endpoint="").report(ITEM)
    assert type(caught.value) is kind


def test_nobody_at_the_address_is_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    store = DynamoDbStore(Cloud(), TABLE, region=REGION, endpoint="http://127.0.0.1:1")

    with pytest.raises(StoreAway, match="dynamodb"):
        store.version(SUBNET)


@pytest.mark.parametrize(
    ("environ", "region", "url"),
    [
        ({}, "us-west-2", "https://sts.us-west-2.amazonaws.com"),
        ({}, "cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn"),
        ({"AWS_ENDPOINT_URL": "http://all"}, "us-west-2", "http://all"),
        ({"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_STS": "http://one"}, "us-west-2", "http://one"),
    ],
)
def test_the_sdks_variables_say_where_a_service_is(
    environ: dict[str, str], region: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert endpoint_url("sts", region) == url
