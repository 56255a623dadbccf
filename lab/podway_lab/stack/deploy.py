"""Creates the stack's table and queues in the region, from the template's own properties.

The lab calls it where nothing is deployed by SAM. It does what CloudFormation would do for these two
services, through their APIs; ``delivery`` runs functions, rules and mappings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
from botocore.config import Config

from podway_lab.stack.template import FunctionSpec, Place, Properties, Rule, SourceMapping, Template


@dataclass(frozen=True, slots=True)
class Credentials:
    """A caller's credentials; the region tells callers apart by the access key."""

    access_key: str
    secret_key: str = "secret"  # noqa: S105  (nobody checks it in the lab)
    token: str = ""
    owner: str = ""
    """Their name in the region's call log."""


CLOUD = Credentials("podway-cloud")
"""The caller of what AWS does by itself: CloudFormation, EventBridge, Lambda's pollers."""


class Stack(Protocol):
    """An installed stack: what `Delivery` must know of it, from wherever it is read."""

    @property
    def place(self) -> Place: ...

    def functions(self) -> Mapping[str, FunctionSpec]:
        """By logical name."""
        ...

    def permissions(self, function: str) -> tuple[Properties, ...]:
        """The policies of a function's role, as documents."""
        ...

    def rules(self) -> tuple[Rule, ...]: ...

    def source_mappings(self) -> tuple[SourceMapping, ...]: ...

    def queues(self) -> Mapping[str, str]:
        """URL of every queue, by its ARN."""
        ...

    def arn_of(self, logical: str) -> str: ...

    def stream_of(self, table: str) -> str:
        """The ARN of a table's stream by the table's logical name; empty if it is no table or has none."""
        ...


@dataclass(frozen=True, slots=True)
class TemplateStack:
    """A stack that `deploy_stack` has made: the template, and what only the region could name."""

    template: Template
    stream_arns: Mapping[str, str]
    """Stream of each table that has one, by logical name."""

    @property
    def place(self) -> Place:
        return self.template.place

    def functions(self) -> Mapping[str, FunctionSpec]:
        return self.template.functions()

    def permissions(self, function: str) -> tuple[Properties, ...]:
        return self.template.permissions(function)

    def rules(self) -> tuple[Rule, ...]:
        return self.template.rules()

    def source_mappings(self) -> tuple[SourceMapping, ...]:
        return self.template.source_mappings()

    def queues(self) -> Mapping[str, str]:
        template = self.template
        names = template.names("AWS::SQS::Queue")
        return {template.arn_of(name): template.resolve({"Ref": name}) for name in names}

    def arn_of(self, logical: str) -> str:
        return self.template.arn_of(logical)

    def stream_of(self, table: str) -> str:
        return self.stream_arns.get(table, "")


def client(stack: Template | Stack, service: str, credentials: Credentials = CLOUD) -> Any:
    """A client of the region that the stack is in."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # the stubs want a literal
        endpoint_url=stack.place.endpoint,
        region_name=stack.place.region,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        config=Config(retries={"max_attempts": 3}, max_pool_connections=4),
    )


def deploy_stack(template: Template) -> TemplateStack:
    """Create tables and queues, dead-letter queues first. Raises ClientError if one is there already."""
    sqs = client(template, "sqs")
    queues = template.names("AWS::SQS::Queue")
    for name in sorted(queues, key=lambda one: "RedrivePolicy" in template.properties(one)):
        _create_queue(sqs, template, name)
    dynamodb = client(template, "dynamodb")
    streams = {
        name: _create_table(dynamodb, template, name) for name in template.names("AWS::DynamoDB::Table")
    }
    return TemplateStack(template, {name: arn for name, arn in streams.items() if arn})


def _create_queue(sqs: Any, template: Template, name: str) -> None:
    properties = template.properties(name)
    attributes = {
        key: json.dumps(value) if isinstance(value, dict) else _text(value)
        for key, value in properties.items()
        if key not in {"QueueName", "Tags"}
    }
    made = sqs.create_queue(QueueName=template.name_of(name), Attributes=attributes)
    expected = template.resolve({"Ref": name})
    if made["QueueUrl"] != expected:
        raise RuntimeError(f"the region names the queue {made['QueueUrl']}, the template {expected}")


_AS_THEY_ARE = ("AttributeDefinitions", "KeySchema", "BillingMode", "DeletionProtectionEnabled", "Tags")
_CONVERTED: Mapping[str, tuple[str, Callable[[Properties], Properties]]] = {
    "StreamSpecification": ("StreamSpecification", lambda given: {"StreamEnabled": True, **given}),
    "SSESpecification": ("SSESpecification", lambda given: {"Enabled": given["SSEEnabled"]}),
}
_APART = {
    "TableName",
    "GlobalSecondaryIndexes",
    "PointInTimeRecoverySpecification",
    "TimeToLiveSpecification",
}


def _create_table(dynamodb: Any, template: Template, name: str) -> str:
    """The ARN of the new table's stream; empty if it has none."""
    properties = template.properties(name)
    if unknown := properties.keys() - set(_AS_THEY_ARE) - _CONVERTED.keys() - _APART:
        raise RuntimeError(f"the lab cannot create a table with {', '.join(sorted(unknown))}")
    wanted = {key: properties[key] for key in _AS_THEY_ARE if key in properties}
    for key, (spelt, convert) in _CONVERTED.items():
        if key in properties:
            wanted[spelt] = convert(properties[key])
    if indexes := properties.get("GlobalSecondaryIndexes"):
        wanted["GlobalSecondaryIndexes"] = indexes
    table = template.name_of(name)
    made = dynamodb.create_table(TableName=table, **wanted)["TableDescription"]
    if recovery := properties.get("PointInTimeRecoverySpecification"):
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)
    if lifetime := properties.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=lifetime)
    return str(made.get("LatestStreamArn", ""))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
