"""The commands over AWS, against the strict EC2 and moto on HTTP, on a cluster that came to rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from podway.cli import main as cli
from podway.domain.tables import TABLE_TAG
from podway.wire.events import parse_event
from podway_lab.pump import Pump
from podway_lab.region.calls import Made
from podway_lab.region.model import StrictEC2
from podway_lab.region.server import RegionServer
from podway_lab.stack.template import Place, Template

from tests.fakes.world import FakeClock
from tests.integration.control_plane.plane import POD_CIDR, Plane

MUTATING = ("ec2:Create", "ec2:Replace", "ec2:Delete", "ec2:Modify", "dynamodb:Put", "dynamodb:Update")
KEY = {"aws_access_key_id": "podway-functions", "aws_secret_access_key": "unchecked"}


@pytest.fixture(scope="module")
def server() -> Iterator[RegionServer]:
    with RegionServer() as started:
        yield started


@dataclass
class Desk:
    """A terminal, and the cluster behind it."""

    plane: Plane
    client: Callable[[str], Any]
    queue: str
    read: Callable[[], tuple[str, str]]

    def podway(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.run(arguments)
        return code, *self.read()

    def answer(self, *arguments: str) -> Any:
        code, out, err = self.podway(*arguments, "--output", "json")
        assert code == 0, err
        return json.loads(out)

    def hints(self) -> int:
        attributes = self.client("sqs").get_queue_attributes(
            QueueUrl=self.queue, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def desk(
    server: RegionServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    def client(service: str) -> Any:
        factory: Any = boto3.client
        return factory(service, endpoint_url=server.url, region_name="us-west-2", **KEY)

    server.serve(StrictEC2())
    dynamodb = client("dynamodb")
    properties = Template(
        Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place()
    ).properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    dynamodb.create_table(TableName="podway", **{key: properties[key] for key in wanted})
    queue = client("sqs").create_queue(QueueName="hints.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    plane = Plane(dynamodb=dynamodb, quota=5, clock=FakeClock(datetime.now(UTC) - timedelta(minutes=2)))
    plane.settle()
    server.serve(plane.region)
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": "unchecked",
        "PODWAY_CLUSTER": "demo",
        "PODWAY_TABLE": "podway",
        "PODWAY_QUEUE_URL": queue,
        "PODWAY_POD_CIDRS": str(POD_CIDR),
        "PODWAY_ROUTE_QUOTA": "5",
    }.items():
        monkeypatch.setenv(name, value)
    yield Desk(plane, client, queue, lambda: tuple(capsys.readouterr()))  # type: ignore[arg-type,return-value]  # it is a pair
    plane.referee.settle()
    client("sqs").delete_queue(QueueUrl=queue)
    dynamodb.delete_table(TableName="podway")


def test_the_status_of_a_cluster_at_rest(desk: Desk) -> None:
    found = desk.answer("status")

    assert found["nodes"] == {"ready": 6}
    assert found["unhealthy"] == []
    assert not found["released"]
    assert 0 <= found["last_reconcile_age_seconds"] < 600
    assert [table["id"] for table in found["route_tables"]] == sorted(desk.plane.tables.values())
    for table in found["route_tables"]:
        assert table["routes"] == {"ipv4": 2}
        assert table["budget"] == {"ipv4": 2}
        assert (table["steps"], table["holes"]) == (0, [])
    assert found["forwarders"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("status", ["cluster demo", "6 ready", "last reconcile: 0:0"]),
        ("nodes", ["ready", "healthy", "100.64."]),
        ("routes", ["managed", "direct", "aggregated"]),
        ("history", ["reconcile: created 100.64."]),
    ],
)
def test_people_can_read_it_and_reading_writes_nothing(desk: Desk, command: str, words: list[str]) -> None:
    before = desk.plane.region.calls.mark()

    code, out, err = desk.podway(command)

    assert code == 0, err
    assert all(word in out for word in words)
    made = [call.action for call in desk.plane.region.calls.made(since=before)]
    assert made
    assert not [action for action in made if action.startswith(MUTATING)]


def test_nodes_routes_and_history_say_the_same(desk: Desk) -> None:
    nodes = {node["id"]: node for node in desk.answer("nodes")["nodes"]}
    table = desk.plane.tables["a"]
    routes = desk.answer("routes", "--route-table", table)["routes"]
    history = desk.answer("history", "--since", "1h")["history"]

    assert {(route["destination"], route["target"]) for route in routes} == {
        (str(destination), target) for destination, target in desk.plane.table("a").items()
    }
    assert all(route["next_hop"] in nodes for route in routes)
    assert all(node["acknowledged"] == node["newest"] for node in nodes.values())
    assert sum(node["routes"] for node in nodes.values()) == 4
    created = [entry["what"] for entry in history if entry["what"].startswith("created")]
    assert any(table in what for what in created)
    assert history == sorted(history, key=lambda entry: str(entry["at"]))
    assert desk.answer("history", "--since", "0s")["history"] == []


def test_the_settings_come_from_the_stack(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    template = {
        "Parameters": {
            name: {"Type": "String"} for name in ("ClusterName", "PodCidrs", "RouteQuota", "LogLevel")
        },
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"TableName": {"Value": "podway"}, "QueueUrl": {"Value": desk.queue}},
    }
    given = {"ClusterName": "demo", "PodCidrs": str(POD_CIDR), "RouteQuota": "5", "LogLevel": "INFO"}
    desk.client("cloudformation").create_stack(
        StackName="podway-demo",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )
    for name in ("CLUSTER", "TABLE", "QUEUE_URL", "POD_CIDRS", "ROUTE_QUOTA"):
        monkeypatch.delenv(f"PODWAY_{name}")

    without, _, said = desk.podway("status")
    missing, _, no_stack = desk.podway("status", "--stack", "another")

    assert without == 2
    assert "PODWAY_CLUSTER" in said
    assert missing == 77
    assert "another does not exist" in no_stack
    assert desk.answer("status", "--stack", "podway-demo")["nodes"] == {"ready": 6}


def test_a_drain_goes_over_the_bus_to_the_function_and_back(desk: Desk) -> None:
    heard: list[dict[str, Any]] = []
    pump = Pump(desk.plane.region, heard.append)
    node = desk.answer("status")["forwarders"][0]

    code, out, _ = desk.podway("drain", node, "--wait", "0")
    (event,) = heard
    pump.close()
    signal = parse_event(event, account=event["account"])
    late, _, waited = desk.podway("drain", node, "--wait", "1")
    desk.plane.lifecycle.react(signal)  # type: ignore[arg-type]  # a dropped event would fail here
    drained, _, _ = desk.podway("drain", node, "--wait", "20")

    assert (code, out) == (0, f"{node} was asked to hand over\n")
    assert late == 75
    assert "still relays" in waited
    assert drained == 0
    assert node not in desk.answer("status")["forwarders"]


def test_a_drained_node_shows_why_and_an_undrained_one_is_as_before(desk: Desk) -> None:
    node = desk.answer("status")["forwarders"][0]

    drained = desk.podway("drain", node, "--here")
    (unhealthy,) = desk.answer("status")["unhealthy"]
    undrained = desk.podway("undrain", node)

    assert drained == (0, f"{node} relays nothing\n", "")
    assert unhealthy["id"] == node
    assert [one["source"] for one in unhealthy["evidence"]] == ["handover:drain"]
    assert undrained == (0, f"{node}: withdrawn: handover:drain\n", "")
    assert desk.answer("status")["unhealthy"] == []
    assert desk.hints() >= 2


def test_a_route_is_adopted_or_the_reason_is_told(desk: Desk) -> None:
    table = desk.plane.tables["a"]
    desk.plane.ec2.create_route(
        RouteTableId=table,
        DestinationCidrBlock="100.64.250.0/24",
        NetworkInterfaceId=desk.plane.interface("b1"),
    )

    refused = desk.podway("adopt", table, "100.64.251.0/24")
    nonsense = desk.podway("adopt", table, "100.64.251.7/24")
    adopted = desk.podway("adopt", table, "100.64.250.0/24")

    assert refused == (2, "", f"not adopted: {table} has no route for 100.64.251.0/24\n")
    assert nonsense == (2, "", "DESTINATION: 100.64.251.7/24 has host bits set\n")
    assert adopted[0] == 0
    assert "is ours from now on" in adopted[1]
    whose = {route["destination"]: route["ownership"] for route in desk.answer("routes")["routes"]}
    assert whose["100.64.250.0/24"] == "managed"


def test_a_release_says_what_it_would_do_does_it_and_can_be_undone(desk: Desk) -> None:
    dry, planned, _ = desk.podway("release")
    untouched = (desk.plane.table("a"), desk.plane.table("b"))
    done, said, _ = desk.podway("release", "--yes")
    busy = desk.plane.reconcile().busy
    empty = (desk.plane.table("a"), desk.plane.table("b"))
    status = desk.answer("status")
    undone = desk.podway("release", "--undo")
    desk.plane.settle()

    assert (dry, done) == (0, 0)
    assert planned.count("would delete") == said.count("deleted 100.64.") == 4
    assert all(untouched)
    assert empty == ({}, {})
    assert busy
    assert status["released"]
    assert undone == (0, "managed again\n", "")
    assert desk.plane.table("a")


@pytest.mark.parametrize("command", [["drain"], ["undrain"]], ids=" ".join)
def test_a_node_that_is_nobody_s_is_refused(desk: Desk, command: list[str]) -> None:
    code, out, err = desk.podway(*command, "i-0123456789abcdef0")

    assert (code, out) == (2, "")
    assert "not a running member of demo" in err


def test_when_aws_is_out_of_reach_the_exit_code_says_try_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    code, out, err = desk.podway("status", "--endpoint-url", "http://127.0.0.1:9")

    assert (code, out) == (75, "")
    assert err.count("\n") == 1


def test_when_aws_refuses_the_exit_code_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWAY_TABLE", "another")

    code, out, err = desk.podway("status")

    assert (code, out) == (77, "")
    assert "another" in err or "not found" in err.lower()


@pytest.mark.parametrize(
    ("name", "value"), [("PODWAY_POD_CIDRS", "100.64.0.1/16"), ("PODWAY_COLOUR", "red"), ("AWS_PROFILE", "x")]
)
def test_settings_that_make_no_sense_are_refused(
    desk: Desk, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        code, out, err = desk.podway("status")

    assert (code, out) == (2, "")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("status", []),
        ("nodes", []),
        ("routes", []),
        ("history", []),
        ("drain", ["NODE", "--wait", "0"]),
        ("drain", ["NODE", "--here"]),
        ("undrain", ["NODE"]),
        ("adopt", ["TABLE", "100.64.250.0/24"]),
        ("forget", ["STRAY", "--yes"]),
        ("restore", ["--yes"]),
        ("release", ["--yes"]),
    ],
    ids=str,
)
def test_a_command_makes_no_call_that_the_page_does_not_allow_it(
    desk: Desk, command: str, arguments: list[str]
) -> None:
    node, table = desk.answer("status")["forwarders"][0], desk.plane.tables["a"]
    desk.plane.ec2.create_route(
        RouteTableId=table,
        DestinationCidrBlock="100.64.250.0/24",
        NetworkInterfaceId=desk.plane.interface("b1"),
    )
    stray = desk.plane.ids["b2"] if command == "forget" else ""
    if stray:
        desk.plane.ec2.delete_tags(Resources=[stray], Tags=[{"Key": TABLE_TAG}])
    before = desk.plane.region.calls.mark()

    words = {"NODE": node, "TABLE": table, "STRAY": stray}
    code, _, err = desk.podway(command, *(words.get(one, one) for one in arguments))

    assert code == 0, err
    made = {action for call in desk.plane.region.calls.made(since=before) for action in iam_actions(call)}
    assert made
    assert made <= permitted("all of them") | permitted(command)


def iam_actions(call: Made) -> set[str]:
    """IAM has no action for a transaction, but one for each of its parts, and its own name for CloudWatch."""
    if call.action != "dynamodb:TransactWriteItems":
        return {call.action.replace("monitoring:", "cloudwatch:")}
    parts = {part for item in call.given["TransactItems"] for part in item}
    return {f"dynamodb:{one}Item" for one in parts}


def permitted(row: str) -> set[str]:
    """What docs/commands.md says that a command needs, and what it needs as another one does."""
    page = Path("docs/commands.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `?{row}`? \| (.*) \|$", page, re.MULTILINE)
    if found is None:
        return set()
    actions = set[str]()
    for said in re.findall(r"`([^`]+)`", found[1]):
        stem, _, names = said.rstrip("}").partition("{")
        if ":" in said:
            actions |= {stem + name for name in names.split(",")}
        elif said in cli.podway.commands:
            actions |= permitted(said)
    return actions
