"""The lab delivers as AWS does: by the template's rules, at least once, again after an error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from podway_lab.region.server import RegionServer
from podway_lab.stack.delivery import Delivery, DeliveryFaults, Pace
from podway_lab.stack.deploy import client, deploy_stack
from podway_lab.stack.functions import Invocation
from podway_lab.stack.inprocess import (
    ConflictingEnvironment,
    InThisProcess,
    ProcessEnvironment,
    shared_environment,
)
from podway_lab.stack.template import FunctionSpec, Place, Template

from tests import limits

CHECKOUT = Path(__file__).parents[4]
EVENTS = CHECKOUT / "tests" / "events"
PATIENT = limits.PATIENCE_SECONDS
QUICK = Pace(tick=3600, queue=0.02, stream=0.02, retry=(0.01, 0.01))

HANDLER = """
import os
print("imported", os.environ["PODWAY_CLUSTER"])

def handler(event, context):
    print("ran", context.function_name)
    records = event.get("Records", [])
    news = [one.get("body") or one["dynamodb"]["NewImage"] for one in records]
    if event.get("detail", {}).get("instance-id") == "i-0bad" or any("bad" in str(one) for one in news):
        raise RuntimeError("as told")
    numbers = [one.get("messageId") or one["dynamodb"]["SequenceNumber"] for one in records]
    refused = [number for number, one in zip(numbers, records) if "refuse" in str(one)]
    return {"batchItemFailures": [{"itemIdentifier": number} for number in refused]}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("lifecycle", "failover", "reconcile"):
        (tmp_path / "functions" / name).mkdir(parents=True)
        (tmp_path / "functions" / name / "app.py").write_text(HANDLER)
    return tmp_path


@pytest.fixture
def template() -> Iterator[Template]:
    with RegionServer() as region:
        parameters = {"ClusterName": "demo", "VpcId": "vpc-0123456789abcdef0"}
        yield Template(CHECKOUT / "template.yaml", parameters, Place(endpoint=region.url))


@contextmanager
def running(template: Template, checkout: Path, **options: Any) -> Iterator[Delivery]:
    deployed = deploy_stack(template)
    with Delivery(
        deployed, hosting=InThisProcess(deployed, checkout), **({"pace": QUICK} | options)
    ) as delivery:
        yield delivery


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


def about(instance: str, event_id: str = "one") -> dict[str, Any]:
    given = event("ec2-state-terminated")
    given["detail"]["instance-id"] = instance
    return given | {"id": event_id}


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENT
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def messages(template: Template, queue: str) -> list[dict[str, Any]]:
    url = template.resolve({"Ref": queue})
    answer = client(template, "sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [json.loads(one["Body"]) for one in answer.get("Messages", [])]


def put_agent(template: Template, cause: str, *, suspecting: bool = False, **more: Any) -> None:
    item = event("stream-agent-joins")["Records"][0]["dynamodb"]["NewImage"]
    item |= {"cause": {"S": cause}, "suspecting": {"BOOL": suspecting}, **more}
    client(template, "dynamodb").put_item(TableName=template.name_of("Table"), Item=item)


def test_an_event_reaches_the_function_of_its_rule_and_nobody_else(
    template: Template, checkout: Path
) -> None:
    with running(template, checkout) as delivery:
        sent = delivery.put(about("i-0123456789abcdef0"))

        assert delivery.settle(PATIENT)

    (ran,) = delivery.invocations()
    assert sent == 1
    assert (ran.function, ran.event_id, ran.attempt, ran.error) == ("FailoverFunction", "one", 1, "")


def test_a_failed_event_is_run_again_twice_and_then_kept(template: Template, checkout: Path) -> None:
    with running(template, checkout) as delivery:
        delivery.put(about("i-0bad"))
        assert delivery.settle(PATIENT)
        kept = messages(template, "FailedEventQueue")

    assert [ran.attempt for ran in delivery.invocations("FailoverFunction")] == [1, 2, 3]
    assert {ran.error for ran in delivery.invocations()} == {"RuntimeError: as told"}
    assert [one["requestPayload"]["id"] for one in kept] == ["one"]
    assert [given["id"] for given, _ in delivery.dead] == ["one"]


def test_ticks_and_route_edits_reach_reconcile_through_the_queue(template: Template, checkout: Path) -> None:
    edit = event("cloudtrail-replace-route")
    with running(template, checkout) as delivery:
        delivery.put(edit)
        delivery.tick()
        assert delivery.settle(PATIENT)

    bodies = [
        json.loads(record["body"])
        for ran in delivery.invocations("ReconcileFunction")
        for record in ran.event["Records"]
    ]
    assert bodies[0] == edit
    assert [body["detail-type"] for body in bodies] == ["AWS API Call via CloudTrail", "Scheduled Event"]


def test_the_queue_takes_the_same_event_once_even_after_it_was_handled_and_every_tick(
    template: Template, checkout: Path
) -> None:
    edit = event("cloudtrail-replace-route")
    with running(template, checkout) as delivery:
        for _ in range(2):
            delivery.put(edit)
            delivery.tick()
            assert delivery.settle(PATIENT)

    records = [
        json.loads(record["body"])["detail-type"]
        for ran in delivery.invocations("ReconcileFunction")
        for record in ran.event["Records"]
    ]
    assert sorted(records) == ["AWS API Call via CloudTrail", "Scheduled Event", "Scheduled Event"]


def test_handled_hints_leave_the_queue_and_refused_ones_stay(template: Template, checkout: Path) -> None:
    sqs = client(template, "sqs")
    url = template.output("QueueUrl")
    with running(template, checkout) as delivery:
        for body in ("fine", "refuse"):
            sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="reconcile")
        assert eventually(lambda: len(handled(delivery)) == 2)
        assert delivery.settle(PATIENT)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]

    assert sorted(left.values()) == ["0", "1"]


def handled(delivery: Delivery) -> list[str]:
    ran = delivery.invocations("ReconcileFunction")
    return [record["body"] for one in ran for record in one.event["Records"]]


def test_the_schedule_ticks_by_itself(template: Template, checkout: Path) -> None:
    with running(template, checkout, pace=Pace(tick=0.05, queue=0.02)) as delivery:
        assert eventually(lambda: len(delivery.invocations("ReconcileFunction")) >= 3)


def test_changes_of_agents_items_reach_those_whose_filters_let_them_through(
    template: Template, checkout: Path
) -> None:
    with running(template, checkout) as delivery:
        put_agent(template, "joined")
        put_agent(template, "heartbeat")
        put_agent(template, "suspicion", suspecting=True)
        put_agent(template, "heartbeat", suspecting=True)
        assert delivery.settle(PATIENT)

    assert causes(delivery.invocations("LifecycleFunction")) == ["joined", "suspicion"]
    assert causes(delivery.invocations("FailoverFunction")) == ["suspicion"]


def causes(ran: tuple[Invocation, ...]) -> list[str]:
    return [record["dynamodb"]["NewImage"]["cause"]["S"] for one in ran for record in one.event["Records"]]


def test_a_change_that_cannot_be_handled_is_retried_and_then_lets_the_next_pass(
    template: Template, checkout: Path
) -> None:
    with running(template, checkout) as delivery:
        put_agent(template, "joined", version={"S": "bad"})
        assert delivery.settle(PATIENT)
        put_agent(template, "acknowledged")
        assert delivery.settle(PATIENT)
        kept = messages(template, "FailedEventQueue")

    ran = delivery.invocations("LifecycleFunction")
    assert causes(ran)[:4] == ["joined"] * 4, "once, and three retries"
    assert len(kept) == 1
    assert "acknowledged" in causes(ran)


def test_duplicates_losses_and_delays_happen_when_asked_for_and_are_counted(
    template: Template, checkout: Path
) -> None:
    faults = DeliveryFaults(seed=3, duplicate=0.4, lose=0.2, delay=0.5, longest_delay=0.2)
    with running(template, checkout, faults=faults) as delivery:
        for number in range(40):
            delivery.put(about("i-0123456789abcdef0", f"event-{number}"))
        assert delivery.settle(PATIENT)

    order = [ran.event_id for ran in delivery.invocations("FailoverFunction")]
    assert all(delivery.fired[kind] > 0 for kind in ("duplicate", "lose", "delay"))
    assert len(order) == 40 - delivery.fired["lose"] + delivery.fired["duplicate"]
    assert order != sorted(order, key=lambda one: int(one.removeprefix("event-"))), "nobody was overtaken"


def test_the_same_seed_makes_the_same_faults(template: Template, checkout: Path) -> None:
    deployed = deploy_stack(template)
    faults = DeliveryFaults(seed=7, duplicate=0.3, lose=0.3)
    fates = []
    for _ in range(2):
        with Delivery(
            deployed, hosting=InThisProcess(deployed, checkout), pace=QUICK, faults=faults
        ) as delivery:
            for number in range(20):
                delivery.put(about("i-0123456789abcdef0", f"event-{number}"))
            assert delivery.settle(PATIENT)
        fates.append([ran.event_id for ran in delivery.invocations()])

    assert fates[0] == fates[1]


def test_handlers_see_their_environment_and_what_they_print_is_kept_apart(
    template: Template, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = sys.stdout
    with running(template, checkout) as delivery:
        delivery.put(about("i-0123456789abcdef0"))
        assert delivery.settle(PATIENT)

    (ran,) = delivery.invocations()
    assert ran.printed == "ran podway-FailoverFunction\n"
    assert "ran" not in capsys.readouterr().out
    assert "PODWAY_CLUSTER" not in os.environ
    assert sys.stdout is stream


def test_a_handler_that_cannot_be_imported_leaves_nothing_behind(template: Template, checkout: Path) -> None:
    (checkout / "functions" / "failover" / "app.py").write_text("raise ImportError('broken')")
    stream = sys.stdout

    with pytest.raises(ImportError, match="broken"), running(template, checkout):
        pass

    assert "PODWAY_CLUSTER" not in os.environ
    assert sys.stdout is stream


def test_functions_that_disagree_about_a_variable_cannot_share_a_process() -> None:
    specs = [
        FunctionSpec(name, "", "app.handler", 30, 512, {"PODWAY_TABLE": name}, 2, "")
        for name in ("one", "two")
    ]

    with pytest.raises(ConflictingEnvironment, match="PODWAY_TABLE"):
        shared_environment(specs)


def test_the_operators_own_variables_are_put_aside_while_functions_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PODWAY_TABLE", "of the operator")
    monkeypatch.setenv("PODWAY_OUTPUT", "unknown to functions")
    environment = ProcessEnvironment({"PODWAY_TABLE": "of the function"})

    environment.enter()
    during = {name: value for name, value in os.environ.items() if name.startswith("PODWAY_")}
    environment.leave()

    assert during == {"PODWAY_TABLE": "of the function"}
    assert os.environ["PODWAY_TABLE"] == "of the operator"
    assert os.environ["PODWAY_OUTPUT"] == "unknown to functions"
