"""What template.yaml promises: every trigger has its rule, and nobody may do more than the task needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from podway import bootstrap
from podway.config import Settings
from podway_lab.stack.patterns import Pattern
from podway_lab.stack.template import Place, Template, TemplateError

CHECKOUT = Path(__file__).parents[4]
PARAMETERS = {"ClusterName": "demo", "VpcId": "vpc-0123456789abcdef0"}
EVENTS = CHECKOUT / "tests" / "events"


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(CHECKOUT / "template.yaml", PARAMETERS, Place())


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


def receivers(template: Template, given: dict[str, Any]) -> list[str]:
    """Who gets the event by the rules of the bus: functions, and the queue as ``queue``."""
    return sorted(
        target.function or "queue"
        for rule in template.rules()
        if rule.pattern and Pattern(rule.pattern).matches(given)
        for target in rule.targets
    )


LIFECYCLE, FAILOVER, QUEUE = ["LifecycleFunction"], ["FailoverFunction"], ["queue"]
NOBODY: list[str] = []
RECEIVED = {
    "asg-launch-hook": LIFECYCLE,
    "asg-terminate-hook": LIFECYCLE,
    "asg-test-notification": NOBODY,
    "cloudtrail-associate-route-table": QUEUE,
    "cloudtrail-associate-vpc-cidr-block": QUEUE,
    "cloudtrail-create-tags": QUEUE,
    "cloudtrail-create-tags-of-others": NOBODY,
    "cloudtrail-delete-tags": QUEUE,
    "cloudtrail-disable-vgw-route-propagation": QUEUE,
    "cloudtrail-enable-vgw-route-propagation": QUEUE,
    "cloudtrail-create-route": QUEUE,
    "cloudtrail-delete-route": QUEUE,
    "cloudtrail-disassociate-route-table": QUEUE,
    "cloudtrail-refused-replace-route": NOBODY,
    "cloudtrail-replace-route": QUEUE,
    "cloudwatch-alarm-contributor": FAILOVER,
    "cloudwatch-alarm-of-somebody-else": FAILOVER,
    "cloudwatch-alarm-to-alarm": FAILOVER,
    "cloudwatch-alarm-to-insufficient-data": FAILOVER,
    "cloudwatch-alarm-to-ok": FAILOVER,
    "ec2-rebalance-recommendation": LIFECYCLE,
    "ec2-spot-interruption": LIFECYCLE,
    "ec2-state-pending": NOBODY,
    "ec2-state-running": LIFECYCLE,
    "ec2-state-shutting-down": FAILOVER,
    "ec2-state-stopped": FAILOVER,
    "ec2-state-stopping": FAILOVER,
    "ec2-state-terminated": FAILOVER,
    "health-issue-of-other-service": NOBODY,
    "health-scheduled-change": LIFECYCLE,
    "podway-drain": LIFECYCLE,
    "unknown-ebs-volume": NOBODY,
}


@pytest.mark.parametrize("name", sorted(RECEIVED))
def test_every_trigger_has_a_rule_that_finds_its_function(template: Template, name: str) -> None:
    assert receivers(template, event(name)) == RECEIVED[name]


def test_another_owners_lifecycle_hook_is_not_ours_to_complete(template: Template) -> None:
    hook = event("asg-terminate-hook")
    hook["detail"]["LifecycleHookName"] = "drain-by-somebody-else"

    assert receivers(template, hook) == NOBODY


@pytest.mark.parametrize("role", ["ReconcileRole", "FailoverRole", "LifecycleRole"])
def test_our_own_route_writes_do_not_come_back_as_hints(template: Template, role: str) -> None:
    call = event("cloudtrail-replace-route")
    issuer = call["detail"]["userIdentity"]["sessionContext"]["sessionIssuer"]
    issuer["arn"] = template.arn_of(role)

    assert receivers(template, call) == NOBODY


def test_a_user_without_a_role_is_somebody_else(template: Template) -> None:
    call = event("cloudtrail-replace-route")
    del call["detail"]["userIdentity"]["sessionContext"]

    assert receivers(template, call) == QUEUE


def test_the_schedule_hints_every_minute_with_the_events_own_id(template: Template) -> None:
    (schedule,) = [rule for rule in template.rules() if rule.every]

    assert schedule.every == 60
    assert [target.input for target in schedule.targets] == [""], (
        "a constant body would be taken for a duplicate"
    )
    assert [target.arn for target in schedule.targets] == [template.arn_of("HintQueue")]


@pytest.mark.parametrize(
    ("name", "heard_by"),
    [
        ("stream-agent-suspects", ["FailoverFunction", "LifecycleFunction"]),
        ("stream-agent-clears", ["FailoverFunction", "LifecycleFunction"]),
        ("stream-agent-joins", ["LifecycleFunction"]),
        ("stream-agent-acknowledges", ["LifecycleFunction"]),
        ("stream-other-items", []),
    ],
)
def test_agents_reports_reach_those_who_act_on_them(
    template: Template, name: str, heard_by: list[str]
) -> None:
    records = event(name)["Records"]

    reached = [
        mapping.function
        for mapping in template.source_mappings()
        if mapping.source == "Table"
        and any(Pattern(one).matches(record) for one in mapping.filters for record in records)
    ]

    assert sorted(reached) == heard_by


def test_heartbeats_wake_nobody_even_of_an_agent_that_suspects(template: Template) -> None:
    (record,) = event("stream-agent-suspects")["Records"]
    for image in ("NewImage", "OldImage"):
        record["dynamodb"][image] |= {"cause": {"S": "heartbeat"}, "suspecting": {"BOOL": True}}

    filters = [one for mapping in template.source_mappings() for one in mapping.filters]

    assert filters
    assert not any(Pattern(one).matches(record) for one in filters)


# --- the store and the queue ------------------------------------------------------------------------


def test_the_table_is_the_store_that_agents_and_functions_expect(template: Template) -> None:
    table = template.properties("Table")

    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    keys = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert keys == {"speakers": ["reports", "pk"], "agents": ["reports", "instance"]}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_table_outlives_mistakes(template: Template) -> None:
    table = template.properties("Table")

    assert table["DeletionProtectionEnabled"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert template.policies("Table") == {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def test_a_hint_is_hidden_for_as_long_as_its_run_may_take_and_five_seconds(template: Template) -> None:
    timeout = template.functions()["ReconcileFunction"].timeout

    assert template.properties("HintQueue")["VisibilityTimeout"] == timeout + 5
    assert bootstrap.RECONCILE_TIMEOUT.total_seconds() == timeout


def test_rules_can_write_to_the_fifo_queue(template: Template) -> None:
    queue = template.properties("HintQueue")
    targets = [target for rule in template.rules() for target in rule.targets if not target.function]

    assert queue["FifoQueue"]
    assert queue["ContentBasedDeduplication"], "EventBridge sends no deduplication id"
    assert {target.group for target in targets} == {"reconcile"}, "one group, one writer"
    assert allowed_sources(template, "HintQueuePolicy") == {
        template.arn_of(rule.name) for rule in template.rules() if not rule.targets[0].function
    }


def test_what_cannot_be_delivered_is_kept_in_a_standard_queue(template: Template) -> None:
    failed = template.arn_of("FailedEventQueue")
    targets = [
        target
        for name in template.names("AWS::Events::Rule")
        for target in template.properties(name)["Targets"]
    ]

    assert "FifoQueue" not in template.properties("FailedEventQueue")
    assert {target["DeadLetterConfig"]["Arn"] for target in targets} == {failed}
    assert all(target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 600 for target in targets)
    assert allowed_sources(template, "FailedEventQueuePolicy") == {
        template.arn_of(rule.name) for rule in template.rules()
    }


def allowed_sources(template: Template, policy: str) -> set[str]:
    statements = template.properties(policy)["PolicyDocument"]["Statement"]
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    return set(allowed["Condition"]["ArnEquals"]["aws:SourceArn"])


def test_every_queue_is_encrypted(template: Template) -> None:
    queues = [template.properties(name) for name in template.names("AWS::SQS::Queue")]

    assert len(queues) == 3
    assert all(queue["SqsManagedSseEnabled"] for queue in queues)


# --- functions --------------------------------------------------------------------------------------


def test_the_functions_settings_are_those_that_the_library_accepts(template: Template) -> None:
    environments = [function.environment for function in template.functions().values()]

    assert len(environments) == 3
    for environment in environments:
        assert Settings.from_environment(environment).cluster == "demo"
        assert {f"PODWAY_{name.upper()}" for name in Settings.model_fields} <= environment.keys()


def test_every_function_has_a_log_that_is_not_kept_for_ever(template: Template) -> None:
    groups = {template.properties(name)["LogGroupName"] for name in template.names("AWS::Logs::LogGroup")}
    kept = [template.properties(name)["RetentionInDays"] for name in template.names("AWS::Logs::LogGroup")]
    used = {template.properties(name)["LoggingConfig"]["LogGroup"] for name in template.functions()}

    assert used == groups
    assert all(kept)


@pytest.mark.parametrize(
    ("given", "architecture"),
    [({}, "arm64"), ({"Architecture": "arm64"}, "arm64"), ({"Architecture": "x86_64"}, "x86_64")],
)
def test_functions_run_on_the_architecture_that_was_asked_for_and_layers_on_both(
    given: dict[str, str], architecture: str
) -> None:
    template = Template(CHECKOUT / "template.yaml", PARAMETERS | given, Place())

    for name in template.functions():
        assert template.properties(name)["Architectures"] == [architecture]
        assert template.properties(name)["Runtime"] == "python3.13"
    for name in template.names("AWS::Lambda::LayerVersion"):
        assert template.properties(name)["CompatibleArchitectures"] == ["arm64", "x86_64"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ClusterName": "two words"},
        {"VpcId": "subnet-0123456789abcdef0"},
        {"PodCidrs": "100.64.0.0"},
        {"PodCidrs": "100.64.0.0/16,fd00::/48"},
        {"PodCidrs": "fd00:ec2::/32"},
        {"PodCidrs": "999.1.1.1/99"},
        {"PodCidrs": "100.64.0.0/33"},
        {"PodCidrs": "0.0.0.0/0"},
        {"RouteQuota": "2000"},
        {"Architecture": "sparc"},
        {"Unheard": "of"},
    ],
    ids=str,
)
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(TemplateError):
        Template(CHECKOUT / "template.yaml", PARAMETERS | wrong, Place())


# --- who may do what --------------------------------------------------------------------------------

NO_RESOURCE = {
    "ec2:DescribeInstances",
    "ec2:DescribeInstanceTypes",
    "ec2:DescribeManagedPrefixLists",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "servicequotas:GetServiceQuota",
}
"""Actions for which AWS knows no resource (Service Authorization Reference)."""


def statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in template.names("AWS::IAM::Role"):
        for policy in template.properties(name)["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement
    for name in template.names("AWS::IAM::ManagedPolicy"):
        for statement in template.properties(name)["PolicyDocument"]["Statement"]:
            yield name, statement


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_permission_covers_everything_where_the_action_knows_better(template: Template) -> None:
    seen = list(statements(template))

    assert seen
    for name, statement in seen:
        actions = set(as_list(statement["Action"]))
        assert not any("*" in action for action in actions), name
        if "*" in as_list(statement["Resource"]):
            assert actions <= NO_RESOURCE, (name, statement["Sid"])


def test_each_function_has_a_role_of_its_own_and_no_managed_policy(template: Template) -> None:
    roles = [template.properties(name)["Role"] for name in template.functions()]

    assert len(set(roles)) == 3
    for name in template.names("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in template.properties(name)


def test_routes_are_written_only_in_tables_that_carry_the_clusters_tag(template: Template) -> None:
    writing = [
        one
        for _, one in statements(template)
        if any("Route" in a and "Describe" not in a for a in as_list(one["Action"]))
    ]

    assert len(writing) == 3
    for statement in writing:
        assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/podway:cluster": "demo"}}
        assert statement["Resource"].endswith(":route-table/*")


def test_interfaces_are_changed_only_in_the_clusters_vpc(template: Template) -> None:
    changing = [
        one
        for _, one in statements(template)
        if "ec2:ModifyNetworkInterfaceAttribute" in as_list(one["Action"])
    ]

    assert len(changing) == 2
    for statement in changing:
        (vpc,) = statement["Condition"]["ArnEquals"].values()
        assert vpc.endswith(":vpc/vpc-0123456789abcdef0")


def test_the_control_plane_cannot_speak_for_an_agent(template: Template) -> None:
    for name, statement in statements(template):
        if name == "NodePolicy" or "dynamodb:PutItem" not in as_list(statement["Action"]):
            continue
        keys = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
        assert not any(key.startswith(("*", "A")) for key in keys)
        assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}


def test_a_node_writes_only_under_its_own_identity(template: Template) -> None:
    policy = template.properties("NodePolicy")["PolicyDocument"]["Statement"]
    writes = [one for one in policy if set(as_list(one["Action"])) - {"dynamodb:GetItem"}]
    reads = [one for one in policy if one not in writes]

    assert [one["Condition"]["ForAllValues:StringEquals"]["dynamodb:LeadingKeys"] for one in writes] == [
        ["${aws:userid}"]
    ]
    assert [one["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] for one in reads] == [
        ["snapshot#*", "${aws:userid}"]
    ]
    assert all(one["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"} for one in policy)


def test_functions_are_assumed_by_lambda_alone(template: Template) -> None:
    for name in template.names("AWS::IAM::Role"):
        (trust,) = template.properties(name)["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_outputs_name_what_operators_need(template: Template) -> None:
    assert {"TableName", "TableArn", "NodePolicyArn", "QueueUrl"} <= template.outputs.keys()
    assert template.output("NodePolicyArn").startswith("arn:aws:iam::")
