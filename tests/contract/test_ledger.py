"""What the operator's use cases may rely on in the ledger: the fake, and the adapter over DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from podway.adapters.dynamodb import DynamoStore
from podway.adapters.ledger import DynamoLedger
from podway.app.ledger import FOR_GOOD, Ledger
from podway.app.ports import LONGEST_LEASE, RELEASED, HistoryEntry
from podway.app.stores import Store
from podway.domain.addressing import Prefix
from podway_lab.stack.template import Place, Template

from tests.fakes.ledger import FakeLedger
from tests.fakes.store import FakeStore
from tests.fakes.world import START

LATER = START + timedelta(seconds=60)
POD = Prefix.parse("100.64.0.0/20")


@pytest.fixture(params=["fake", "dynamodb"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Store, Ledger]]:
    if request.param == "fake":
        store = FakeStore()
        yield store, FakeLedger(store)
        return
    properties = Template(
        Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place()
    ).properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        client.create_table(TableName="podway", **{key: properties[key] for key in wanted})
        yield (
            DynamoStore(client, table="podway", cluster="demo"),
            DynamoLedger(client, table="podway"),
        )


def test_operator_and_reconcile_keep_each_other_out(both: tuple[Store, Ledger]) -> None:
    store, ledger = both

    assert store.acquire_lease("a run", now=START, until=LATER)
    assert not ledger.hold("operator", now=START, until=LATER)
    store.release_lease("a run")
    assert ledger.hold("operator", now=START, until=LATER)
    assert not store.acquire_lease("a run", now=START, until=LATER)
    store.record_routes("operator", "rtb-1", frozenset({POD}))
    assert store.recall().records == {"rtb-1": {POD}}


def test_a_released_cluster_stays_so_until_it_is_taken_back(both: tuple[Store, Ledger]) -> None:
    store, ledger = both
    years = START + timedelta(days=36500)

    assert ledger.hold(RELEASED, now=START, until=FOR_GOOD)
    assert ledger.hold(RELEASED, now=LATER, until=FOR_GOOD), "a release may be repeated"
    assert not store.acquire_lease("a run", now=years, until=years)
    assert ledger.lease().owner == RELEASED
    store.release_lease(RELEASED)
    assert ledger.lease().owner is None
    assert store.acquire_lease("a run", now=LATER, until=LATER)


def test_a_command_cuts_no_lease_of_a_run_but_one_that_lies_ahead(both: tuple[Store, Ledger]) -> None:
    """Case x."""
    store, ledger = both
    store.acquire_lease("a run", now=START, until=START + LONGEST_LEASE)

    assert not ledger.hold("operator", now=START, until=LATER)
    assert ledger.lease().expires == START + LONGEST_LEASE
    store.acquire_lease("a run", now=START, until=START + timedelta(hours=6))
    assert not ledger.hold("operator", now=START, until=LATER)
    assert ledger.lease().expires == START + LONGEST_LEASE


def test_the_lease_of_nobody_is_free(both: tuple[Store, Ledger]) -> None:
    _, ledger = both

    assert (ledger.lease().owner, ledger.lease().began) == (None, None)


def test_history_is_told_in_order_over_midnights(both: tuple[Store, Ledger]) -> None:
    store, ledger = both
    moments = [START + timedelta(hours=9 * number) for number in range(6)]
    entries = [HistoryEntry(at, "reconcile", f"run {at}", "moved", "because", {"a": "b"}) for at in moments]
    for entry in entries:
        store.add_history([entry])

    told = list(ledger.history(moments[1], moments[4]))

    assert told == entries[1:5]


def test_the_last_run_s_beginning_is_known_and_operators_leave_it_alone() -> None:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        keys = (("pk", "HASH"), ("sk", "RANGE"))
        client.create_table(
            TableName="podway",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],  # type: ignore[typeddict-item]  # the kind is a literal
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        )
        store, ledger = (
            DynamoStore(client, table="podway", cluster="demo"),
            DynamoLedger(client, table="podway"),
        )
        store.acquire_lease("a run", now=START, until=LATER)
        store.release_lease("a run")
        ledger.hold("operator", now=LATER, until=LATER + timedelta(seconds=60))

        found = ledger.lease()

    assert found.began == START
    assert found.is_held(LATER)
    assert not found.is_held(LATER + timedelta(seconds=61))
