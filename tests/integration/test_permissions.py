"""Every call that the functions make is one that their roles in template.yaml allow.

Over a life of a cluster in the lab's control plane: nodes start, one dies, one is about to, one joins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from podway_lab.lab import FUNCTIONS, Lab, LabPlan, SubnetPlan
from podway_lab.region.calls import Made
from podway_lab.region.events import Stamps, launch_hook, spot_interruption
from podway_lab.stack.template import Template

from tests import limits

CHECKOUT = Path(__file__).parents[2]
PLAN = LabPlan(
    tick=3600,
    quota=10,
    subnets=(
        SubnetPlan("a", "10.0.0.0/20", "us-west-2a", ("a1", "a2", "a3"), foreign=4),
        SubnetPlan("b", "10.0.16.0/20", "us-west-2b", ("b1", "b2")),
    ),
)
WRITES = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
}
KEYED = {f"dynamodb:{action}" for action in WRITES.values()}


@pytest.fixture(scope="module")
def lived() -> Iterator[Lab]:
    """A cluster after everything that wakes a function has happened to it."""
    with Lab(PLAN, with_fabric=False) as lab:
        lab.launch_all()
        assert lab.wait(
            lambda: all(map(lab.is_ready, lab.nodes())) and len(lab.nodes()) == 5, limits.PATIENCE_SECONDS
        )
        stamps = Stamps(lab.ec2.clock)
        lab.delivery.put(spot_interruption(stamps.next(), lab.ids["a1"], availability_zone="us-west-2a"))
        lab.delivery.put(launch_hook(stamps.next(), lab.ids["a2"], group="workers", hook="podway-launch"))
        assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        for node in ("a1", "b1"):
            lab.operator.terminate_instances(InstanceIds=[lab.ids[node]])
            assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        lab.launch("b3", "b")
        assert lab.wait(lambda: lab.is_ready("b3"), limits.PATIENCE_SECONDS)
        assert lab.delivery.settle(limits.PATIENCE_SECONDS)
        yield lab


def needed(template: Template, call: Made) -> list[tuple[str, str, str]]:
    """The permissions that a call needs: IAM's action, resource and leading key where they count."""
    if call.action.startswith("sqs:"):
        queue = call.given["QueueUrl"].rpartition("/")[2]
        return [(call.action, template.place.arn("sqs", queue), "")]
    if call.action.startswith("monitoring:"):  # the endpoint's name; IAM's is another
        action = call.action.replace("monitoring", "cloudwatch")
        names = call.given.get("AlarmNames") or [call.given.get("AlarmName", "any")]
        return [(action, template.place.arn("cloudwatch", f"alarm:{name}"), "") for name in names]
    if not call.action.startswith("dynamodb:"):
        return [(call.action, "", "")]
    table = template.arn_of("Table")
    if call.action == "dynamodb:TransactWriteItems":
        parts = [part for item in call.given["TransactItems"] for part in item.items()]
        return [(f"dynamodb:{WRITES[kind]}", table, leading_key(one)) for kind, one in parts]
    return [(call.action, table, leading_key(call.given) if call.action in KEYED else "")]


def leading_key(given: Mapping[str, Any]) -> str:
    item = given.get("Item") or given["Key"]
    return str(item["pk"]["S"])


def allowed(template: Template, function: str, action: str, resource: str, key: str) -> bool:
    role = function.replace("Function", "Role")
    (policy,) = template.properties(role)["Policies"]
    return any(
        action in as_list(one["Action"])
        and (not resource or any(fnmatchcase(resource, pattern) for pattern in as_list(one["Resource"])))
        and key_fits(one.get("Condition", {}), key)
        for one in policy["PolicyDocument"]["Statement"]
        if one["Effect"] == "Allow"
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def key_fits(condition: Mapping[str, Any], key: str) -> bool:
    patterns = condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
    return patterns is None or any(fnmatchcase(key, pattern) for pattern in patterns)


def test_every_function_was_at_work(lived: Lab) -> None:
    calls = [(run.function, call) for run in lived.delivery.invocations() for call in lived.calls_of(run)]
    called = {call.action for _, call in calls}

    assert {function for function, _ in calls} == set(lived.template.functions())
    assert {"ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:ModifyNetworkInterfaceAttribute"} <= called
    assert {"dynamodb:TransactWriteItems", "sqs:SendMessage", "monitoring:PutMetricAlarm"} <= called


def test_the_roles_allow_every_call_that_the_functions_make(lived: Lab) -> None:
    template = lived.template
    missing = {
        (run.function, *permission)
        for run in lived.delivery.invocations()
        for call in lived.calls_of(run)
        for permission in needed(template, call)
        if not allowed(template, run.function, *permission)
    }

    assert not missing


def test_no_call_is_made_behind_the_invocations_backs(lived: Lab) -> None:
    ours = lived.ec2.calls.made(caller=f"{FUNCTIONS}/*")
    asked_for = {call.began for run in lived.delivery.invocations() for call in lived.calls_of(run)}

    assert [call for call in ours if call.began not in asked_for] == []
