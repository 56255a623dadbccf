"""What a node writes costs a run a page at most, hides nobody, and is refused by name (case y)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from podway.adapters import dynamodb as adapter
from podway.adapters.dynamodb import DynamoStore
from podway.wire.agent_item import AGENTS, INDEX, MOST_SUSPECTS, AgentItem
from podway.wire.attributes import spelt_item
from podway_lab.stack.template import Place, Template

from tests.fakes.world import START

PARAMETERS = {"ClusterName": "demo", "VpcId": "vpc-00000000"}
LARGE = "x" * 380_000
"""DynamoDB takes items of up to 400 KB."""


@pytest.fixture
def client() -> Iterator[Any]:
    properties = Template(Path("template.yaml"), PARAMETERS, Place()).properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        client.create_table(TableName="podway", **{key: properties[key] for key in wanted})
        yield client


def node(number: int) -> str:
    return f"i-{number:017x}"


def write(client: Any, number: int, **more: Any) -> None:
    """The item of a node's agent, with whatever else the node puts into it."""
    item = {
        "pk": f"AROAROLE:{node(number)}",
        "sk": "agent",
        "reports": AGENTS,
        "instance": node(number),
        "subnet": "subnet-a",
        "generation": number,
        "heartbeat": START.isoformat(),
        "cause": "heartbeat",
        "suspects": [],
        "version": "1.0",
    }
    client.put_item(TableName="podway", Item=spelt_item(item | more))


def recalled(client: Any) -> tuple[set[str], tuple[str, ...], int]:
    """Who is heard, the doubts, and how many pages of agents' items were read."""
    pages: list[str] = []

    def count(params: dict[str, Any], **_: Any) -> None:
        pages.append(params["body"] if isinstance(params["body"], str) else params["body"].decode())

    client.meta.events.register("before-call.dynamodb.Query", count)
    memory = DynamoStore(client, table="podway", cluster="demo").recall()
    client.meta.events.unregister("before-call.dynamodb.Query", count)
    return set(memory.reports), memory.doubts, sum("IndexName" in body for body in pages)


def test_a_node_that_writes_any_number_of_large_items_costs_a_page_and_hides_nobody(client: Any) -> None:
    for number in (1, 2, 3):
        write(client, number)
    for extra in range(12):
        write(client, 2, sk=f"more-{extra:02}", suspects=[LARGE], instance=node(0))

    heard, doubts, pages = recalled(client)

    assert {node(1), node(3)} <= heard
    assert pages <= 2
    assert [one for one in doubts if node(2) in one] == list(doubts) != []


def test_fields_that_nobody_knows_are_not_even_read(client: Any) -> None:
    for number in range(1, 9):
        write(client, number, junk=LARGE)

    heard, doubts, _ = recalled(client)  # moto fills its pages before it projects; DynamoDB projects first
    shown = client.query(
        TableName="podway",
        IndexName=INDEX,
        KeyConditionExpression="reports = :agents",
        ExpressionAttributeValues=spelt_item({":agents": AGENTS}),
    )

    assert heard == {node(number) for number in range(1, 9)}
    assert doubts == ()
    assert [one for one in shown["Items"] if "junk" in one] == []


@pytest.mark.parametrize(
    "more",
    [
        {"suspects": [node(one) for one in range(MOST_SUSPECTS + 1)]},
        {"suspects": ["x" * 65]},
        {"suspects": [{"deep": [1]}] * 3},
        {"version": LARGE},
        {"subnet": LARGE},
        {"generation": 10**30},
        {"blocks_wanted": 1001},
        {"heartbeat": LARGE},
        {"instance": node(7)},
        {"sk": "another"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_an_item_beyond_its_bounds_is_refused_and_named(client: Any, more: dict[str, Any]) -> None:
    write(client, 1)
    write(client, 2, **more)

    heard, doubts, _ = recalled(client)

    assert heard == {node(1)}
    (doubt,) = doubts
    assert node(2) in doubt
    assert len(doubt) < 1000, "who writes it decides nothing about the log"


def test_reading_stops_at_a_budget_and_says_so(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MOST_PAGES", 2)
    for number in range(1, 16):
        write(client, number, suspects=[LARGE])

    _, doubts, pages = recalled(client)

    assert pages <= 3
    assert "pages" in doubts[-1]
    assert len(doubts) <= adapter.MOST_DOUBTS + 2


def test_an_item_at_its_bounds_is_heard(client: Any) -> None:
    write(
        client,
        1,
        suspects=[node(one) for one in range(MOST_SUSPECTS)],
        blocks_wanted=1000,
        generation=2**53 - 1,
    )

    heard, doubts, _ = recalled(client)

    assert (heard, doubts) == ({node(1)}, ())


def test_the_index_projects_exactly_what_an_agents_item_has() -> None:
    """A new field needs its place in the projection by the release that first has the index.

    What is new in an item is read from the table's stream alone.
    """
    indexes = Template(Path("template.yaml"), PARAMETERS, Place()).properties("Table")[
        "GlobalSecondaryIndexes"
    ]
    (ours,) = (one for one in indexes if one["IndexName"] == INDEX)
    elsewhere = {"pk", "sk", "reports", "causes"}

    assert set(ours["Projection"]["NonKeyAttributes"]) == AgentItem.model_fields.keys() - elsewhere
    assert len(ours["Projection"]["NonKeyAttributes"]) <= 20, "DynamoDB's limit"
