"""A stack as CloudFormation has made it: read from the region's own answers, not from the template.

The lab makes one after ``sam deploy``; delivery and hosting read it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from moto.awslambda.models import lambda_backends

from podway_lab.stack.deploy import client
from podway_lab.stack.template import (
    FunctionSpec,
    Place,
    Properties,
    Rule,
    RuleTarget,
    SourceMapping,
    seconds_of,
)

_FUNCTION = "AWS::Lambda::Function"
_QUEUE = "AWS::SQS::Queue"
_RULE = "AWS::Events::Rule"
_MAPPING = "AWS::Lambda::EventSourceMapping"
_TABLE = "AWS::DynamoDB::Table"


class CloudFormationStack:
    """The stack called ``place.stack``. Its list of resources is read once, when it is made."""

    def __init__(self, place: Place) -> None:
        self.place = place
        described = self._client("cloudformation").describe_stack_resources(StackName=place.stack)
        self._resources: dict[str, tuple[str, str]] = {
            one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", ""))
            for one in described["StackResources"]
            if "LogicalResourceId" in one  # moto lists what a condition left out too, without a name
        }

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """What the stack tells its operator, by name."""
        (stack,) = self._client("cloudformation").describe_stacks(StackName=self.place.stack)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def functions(self) -> Mapping[str, FunctionSpec]:
        return {name: self._function(name, physical) for name, physical in self._named(_FUNCTION).items()}

    def _function(self, name: str, physical: str) -> FunctionSpec:
        lambda_ = self._client("lambda")
        found = lambda_.get_function_configuration(FunctionName=physical)
        invoke: Mapping[str, Any] = {}
        if "AWS::Lambda::EventInvokeConfig" in {kind for kind, _ in self._resources.values()}:
            try:
                invoke = lambda_.get_function_event_invoke_config(FunctionName=physical)
            except lambda_.exceptions.ResourceNotFoundException:
                invoke = {}
        variables = found.get("Environment", {}).get("Variables", {})
        return FunctionSpec(
            name=name,
            folder="",
            handler=found["Handler"],
            timeout=int(found["Timeout"]),
            memory=int(found["MemorySize"]),
            environment={key: str(value) for key, value in variables.items()},
            retries=int(invoke.get("MaximumRetryAttempts", 2)),
            on_failure=_on_failure(invoke),
        )

    def code(self, function: str) -> bytes:
        """The archive that was uploaded as the function's code."""
        return bytes(self._backend.get_function(self._physical(function)).code_bytes)

    def layers(self, function: str) -> list[bytes]:
        """The archives of the function's layers, in the order in which Lambda lays them over each other."""
        layers = self._backend.get_function(self._physical(function)).layers
        found = (self._backend.layers_versions_by_arn(one["Arn"]) for one in layers)
        return [bytes(one.code_bytes) for one in found if one is not None]

    @property
    def _backend(self) -> Any:
        """Moto's own store of functions: the download URLs of their code lead nowhere."""
        return lambda_backends[self.place.account][self.place.region]

    def permissions(self, function: str) -> tuple[Properties, ...]:
        found = self._client("lambda").get_function_configuration(FunctionName=self._physical(function))
        iam, role = self._client("iam"), _last(found["Role"])
        return tuple(
            _document(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
            for name in iam.list_role_policies(RoleName=role)["PolicyNames"]
        )

    def rules(self) -> tuple[Rule, ...]:
        return tuple(self._rule(name, physical) for name, physical in self._named(_RULE).items())

    def _rule(self, name: str, physical: str) -> Rule:
        events = self._client("events")
        found = events.describe_rule(Name=physical)
        return Rule(
            name=name,
            pattern=json.loads(found["EventPattern"]) if found.get("EventPattern") else None,
            every=seconds_of(found.get("ScheduleExpression") or ""),
            targets=tuple(map(self._target, events.list_targets_by_rule(Rule=physical)["Targets"])),
        )

    def _target(self, target: Mapping[str, Any]) -> RuleTarget:
        return RuleTarget(
            arn=target["Arn"],
            function=self._function_at(target["Arn"]) if ":lambda:" in target["Arn"] else "",
            group=target.get("SqsParameters", {}).get("MessageGroupId", ""),
            input=target.get("Input", ""),
        )

    def source_mappings(self) -> tuple[SourceMapping, ...]:
        return tuple(self._mapping(name, physical) for name, physical in self._named(_MAPPING).items())

    def _mapping(self, name: str, physical: str) -> SourceMapping:
        found = self._client("lambda").get_event_source_mapping(UUID=physical)
        criteria = (found.get("FilterCriteria") or {}).get("Filters", [])
        retries = found.get("MaximumRetryAttempts")
        return SourceMapping(
            name=name,
            function=self._function_at(found["FunctionArn"]),
            source=self._source(found["EventSourceArn"]),
            batch=int(found["BatchSize"]),
            filters=tuple(json.loads(one["Pattern"]) for one in criteria),
            retries=-1 if retries is None else int(retries),
            on_failure=_on_failure(found),
        )

    def _source(self, arn: str) -> str:
        """The queue or table (of a stream) that *arn* is of, by its logical name."""
        if ":dynamodb:" in arn:
            return self._logical(_TABLE, arn.partition(":table/")[2].partition("/")[0])
        return next(name for name, url in self._named(_QUEUE).items() if url.endswith(f"/{_last(arn)}"))

    def queues(self) -> Mapping[str, str]:
        return {self.place.arn("sqs", _last(url)): url for url in self._named(_QUEUE).values()}

    def arn_of(self, logical: str) -> str:
        return self.place.arn("sqs", _last(self._physical(logical)))

    def stream_of(self, table: str) -> str:
        kind, physical = self._resources[table]
        if kind != _TABLE:
            return ""
        described = self._client("dynamodb").describe_table(TableName=physical)["Table"]
        return str(described.get("LatestStreamArn", ""))

    # ---- names -----------------------------------------------------------------------------------

    def _client(self, service: str) -> Any:
        return client(self, service)

    def _named(self, kind: str) -> dict[str, str]:
        """Physical names of the resources of a type by their logical ones, sorted."""
        return {name: physical for name, (one, physical) in sorted(self._resources.items()) if one == kind}

    def _physical(self, logical: str) -> str:
        return self._resources[logical][1]

    def _logical(self, kind: str, physical: str) -> str:
        return next(name for name, one in self._named(kind).items() if one == physical)

    def _function_at(self, arn: str) -> str:
        return self._logical(_FUNCTION, arn.rpartition(":")[2])

    def kinds(self) -> Iterable[str]:
        """The types of its resources."""
        return sorted({kind for kind, _ in self._resources.values()})


def _document(said: Any) -> Properties:
    """A policy; moto sends those of a stack's roles as Python would write them."""
    document: Properties = ast.literal_eval(said) if isinstance(said, str) else said
    return document


def _last(name: str) -> str:
    return name.rsplit(":", 1)[-1].rpartition("/")[2] or name.rsplit(":", 1)[-1]


def _on_failure(found: Mapping[str, Any]) -> str:
    return str((found.get("DestinationConfig") or {}).get("OnFailure", {}).get("Destination", ""))
