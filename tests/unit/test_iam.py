"""Least privilege, read from the template: what may be narrower must be.

Which actions know a resource is taken from cfn-lint's copy of AWS's service authorization reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from podway_lab.stack.template import Place, Template

REFERENCE: Mapping[str, Any] = json.loads(
    resources.files("cfnlint").joinpath("data/AdditionalSpecs/Policies.json").read_text(encoding="utf-8")
)
FUNCTIONS = ("ReconcileFunction", "FailoverFunction", "LifecycleFunction")
STORE_KEYS = "dynamodb:LeadingKeys"


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(template: Template) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every statement that allows something to one of our roles, or to the nodes'."""
    for role in template.names("AWS::IAM::Role"):
        for policy in template.properties(role)["Policies"]:
            for one in policy["PolicyDocument"]["Statement"]:
                yield role, one
    for one in template.properties("NodePolicy")["PolicyDocument"]["Statement"]:
        yield "NodePolicy", one


def knows_resources(action: str) -> bool:
    service, _, name = action.partition(":")
    return bool(REFERENCE[service]["Actions"][name.lower()].get("Resources"))


def test_the_reference_tells_one_from_the_other() -> None:
    assert knows_resources("ec2:ReplaceRoute")
    assert not knows_resources("ec2:DescribeInstances")


def test_no_statement_says_everything_where_its_action_knows_a_resource(template: Template) -> None:
    broad = [
        (role, action)
        for role, one in statements(template)
        for action in as_list(one["Action"])
        if "*" in as_list(one["Resource"]) and knows_resources(action)
    ]

    assert broad == []


def test_no_action_is_a_pattern(template: Template) -> None:
    assert [one for _, one in statements(template) if any("*" in a for a in as_list(one["Action"]))] == []


def test_every_function_has_a_role_of_its_own_that_only_lambda_may_assume(template: Template) -> None:
    roles = [template.properties(function)["Role"] for function in FUNCTIONS]

    assert len({str(role) for role in roles}) == len(FUNCTIONS)
    for name in template.names("AWS::IAM::Role"):
        (trust,) = template.properties(name)["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_routes_are_written_only_in_tables_with_the_clusters_tag(template: Template) -> None:
    writes = [
        one
        for _, one in statements(template)
        if any(action.endswith("Route") for action in as_list(one["Action"]))
    ]

    assert len(writes) == len(FUNCTIONS)
    for one in writes:
        assert one["Condition"]["StringEquals"] == {"aws:ResourceTag/podway:cluster": "demo"}


def test_failover_and_lifecycle_can_only_replace_routes(template: Template) -> None:
    allowed = {
        (role, action)
        for role, one in statements(template)
        for action in as_list(one["Action"])
        if action in {"ec2:CreateRoute", "ec2:DeleteRoute"}
    }

    assert {role for role, _ in allowed} == {"ReconcileRole"}


def test_whoever_writes_to_the_store_is_bound_to_keys_and_nodes_to_their_own(template: Template) -> None:
    for role, one in statements(template):
        actions = set(as_list(one["Action"]))
        if not actions & {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"}:
            continue
        keys = [
            key for condition in one["Condition"].values() if (key := condition.get(STORE_KEYS)) is not None
        ]
        assert keys, f"{role} {one['Sid']}"
        assert one["Condition"]["Null"] == {STORE_KEYS: "false"}, "a request without keys would pass"
        if role == "NodePolicy":
            assert as_list(keys[0]) == ["${aws:userid}"]
            assert actions == {"dynamodb:PutItem", "dynamodb:UpdateItem"}


def test_nodes_may_do_nothing_but_read_snapshots_and_speak_for_themselves(template: Template) -> None:
    actions = {
        a for role, one in statements(template) if role == "NodePolicy" for a in as_list(one["Action"])
    }

    assert actions == {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}


def test_what_lies_still_is_encrypted_and_queues_take_messages_only_from_our_rules(
    template: Template,
) -> None:
    for queue in template.names("AWS::SQS::Queue"):
        assert template.properties(queue)["SqsManagedSseEnabled"] is True
    assert "SSESpecification" in template.properties("Table")
    for name in template.names("AWS::SQS::QueuePolicy"):
        for one in template.properties(name)["PolicyDocument"]["Statement"]:
            assert one["Effect"] == "Deny" or "aws:SourceArn" in one["Condition"]["ArnEquals"]


def test_every_rule_and_mapping_keeps_what_it_cannot_deliver(template: Template) -> None:
    for rule in template.names("AWS::Events::Rule"):
        for target in template.properties(rule)["Targets"]:
            assert target["DeadLetterConfig"]
    mappings = [
        template.properties(name)
        for name in template.names("AWS::Lambda::EventSourceMapping")
        if "StartingPosition" in template.properties(name)
    ]
    assert len(mappings) == 2
    assert all(one["DestinationConfig"]["OnFailure"]["Destination"] for one in mappings)
