"""Reads ``template.yaml`` as CloudFormation will: transformed by SAM, with parameters put in.

``deploy`` and ``delivery`` read it; tests read the template's promises through it. The lab chooses the
names of resources itself, so everything can be resolved before anything is created.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

Properties = dict[str, Any]


class TemplateError(ValueError):
    """The template uses something that the lab cannot read, or a parameter is missing or refused."""


_STACK_UUID = "5f4c9a52-6c4f-4f2e-9c2e-0d0d5c2f7a10"
"""What CloudFormation puts behind a stack's name: a stack made anew has another."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stack is: account, region and stack, which are part of its resources' names."""

    stack: str = "podway"
    account: str = "123456789012"
    region: str = "us-west-2"
    endpoint: str = "http://127.0.0.1:5000"
    """Base of the queues' URLs: ``{endpoint}/{account}/{queue}``, as SQS builds them."""

    def arn(self, service: str, resource: str) -> str:
        region = "" if service == "iam" else self.region  # IAM is the same everywhere
        return f"arn:aws:{service}:{region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function: where its code lies, seen from the template, and what Lambda gives it."""

    name: str
    folder: str
    handler: str
    timeout: int
    memory: int
    environment: Mapping[str, str]
    retries: int
    """How often Lambda runs an asynchronous event again after an error."""
    on_failure: str
    """ARN of the queue for events that failed for good; empty if none."""


@dataclass(frozen=True, slots=True)
class RuleTarget:
    """Where a rule sends what it matches: a function (its logical name) or a queue (its ARN)."""

    arn: str
    function: str = ""
    group: str = ""
    """MessageGroupId, for a FIFO queue."""
    input: str = ""
    """A constant that is sent in place of the event, if the target has one."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the default bus: a pattern, or a schedule in seconds."""

    name: str
    pattern: Mapping[str, Any] | None
    every: float
    targets: tuple[RuleTarget, ...]


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """What Lambda polls for a function."""

    name: str
    function: str
    source: str
    """Logical name of the table or queue."""
    batch: int
    filters: tuple[Mapping[str, Any], ...] = ()
    retries: int = -1
    on_failure: str = ""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms (``!Ref``, ``!GetAtt`` …)."""


def _short_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> Properties:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        raise TemplateError(f"!{name} of a mapping")
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in {"Ref", "Condition"} else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _short_form)

_RATE = re.compile(r"rate\((\d+) (second|minute|hour|day)s?\)")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def seconds_of(schedule: str) -> int:
    """The period of a ``rate(…)`` schedule; 0 for none. Raises TemplateError for another kind."""
    rate = _RATE.fullmatch(schedule)
    if schedule and not rate:
        raise TemplateError(f"the lab reads rate(…) schedules, not {schedule}")
    return int(rate[1]) * _SECONDS[rate[2]] if rate else 0


class Template:
    """The stack's resources, resolved on demand."""

    def __init__(self, path: Path, parameters: Mapping[str, str], place: Place) -> None:
        source = yaml.load(path.read_text(), Loader=_Loader)  # noqa: S506  (a SafeLoader with short forms)
        self.place = place
        self.parameters = _with_defaults(source["Parameters"], parameters)
        self._folders = {
            name: resource["Properties"].pop("CodeUri")
            for name, resource in source["Resources"].items()
            if resource["Type"] == "AWS::Serverless::Function"
        }
        self._resources = _transformed(source, self.parameters, place)
        self._conditions: Mapping[str, Any] = source.get("Conditions", {})
        self.outputs: Mapping[str, Any] = {
            name: output["Value"] for name, output in source.get("Outputs", {}).items()
        }

    def names(self, kind: str) -> list[str]:
        """Logical names of the resources of a type, sorted."""
        return sorted(name for name, one in self._resources.items() if one["Type"] == kind)

    def properties(self, name: str) -> Properties:
        """A resource's properties with every reference resolved."""
        resolved: Properties = self.resolve(self._resources[name].get("Properties", {}))
        return resolved

    def policies(self, name: str) -> dict[str, str]:
        """What happens to a resource that leaves the stack: DeletionPolicy and UpdateReplacePolicy."""
        resource = self._resources[name]
        return {key: resource[key] for key in ("DeletionPolicy", "UpdateReplacePolicy") if key in resource}

    def output(self, name: str) -> str:
        return str(self.resolve(self.outputs[name]))

    def functions(self) -> dict[str, FunctionSpec]:
        """The functions by logical name."""
        return {name: self._function(name) for name in self.names("AWS::Lambda::Function")}

    def _function(self, name: str) -> FunctionSpec:
        properties = self.properties(name)
        invoke = self._invoke_config(name)
        return FunctionSpec(
            name=name,
            folder=self._folders[name],
            handler=properties["Handler"],
            timeout=int(properties["Timeout"]),
            memory=int(properties["MemorySize"]),
            environment={key: _text(value) for key, value in properties["Environment"]["Variables"].items()},
            retries=int(invoke.get("MaximumRetryAttempts", 2)),
            on_failure=_on_failure(invoke),
        )

    def _invoke_config(self, function: str) -> Properties:
        for name in self.names("AWS::Lambda::EventInvokeConfig"):
            if self._resources[name]["Properties"]["FunctionName"] == {"Ref": function}:
                return self.properties(name)
        return {}

    def permissions(self, function: str) -> tuple[Properties, ...]:
        """The policies of a function's role, as documents."""
        role, _ = self._resources[function]["Properties"]["Role"]["Fn::GetAtt"]
        return tuple(one["PolicyDocument"] for one in self.properties(role)["Policies"])

    def rules(self) -> tuple[Rule, ...]:
        """Every rule of the bus, schedules included."""
        return tuple(self._rule(name) for name in self.names("AWS::Events::Rule"))

    def _rule(self, name: str) -> Rule:
        properties = self.properties(name)
        return Rule(
            name=name,
            pattern=properties.get("EventPattern"),
            every=seconds_of(properties.get("ScheduleExpression", "")),
            targets=tuple(self._target(target) for target in properties["Targets"]),
        )

    def _target(self, target: Properties) -> RuleTarget:
        functions = {self.arn_of(name): name for name in self.names("AWS::Lambda::Function")}
        return RuleTarget(
            arn=target["Arn"],
            function=functions.get(target["Arn"], ""),
            group=target.get("SqsParameters", {}).get("MessageGroupId", ""),
            input=target.get("Input", ""),
        )

    def source_mappings(self) -> tuple[SourceMapping, ...]:
        """What Lambda polls: the queue and the table's stream, once per function that listens."""
        return tuple(self._source_mapping(name) for name in self.names("AWS::Lambda::EventSourceMapping"))

    def _source_mapping(self, name: str) -> SourceMapping:
        raw = self._resources[name]["Properties"]
        properties = self.properties(name)
        criteria = properties.get("FilterCriteria", {}).get("Filters", [])
        return SourceMapping(
            name=name,
            function=raw["FunctionName"]["Ref"],
            source=raw["EventSourceArn"]["Fn::GetAtt"][0],
            batch=int(properties["BatchSize"]),
            filters=tuple(json.loads(one["Pattern"]) for one in criteria),
            retries=int(properties.get("MaximumRetryAttempts", -1)),
            on_failure=_on_failure(properties),
        )

    # ---- references --------------------------------------------------------------------------------

    def resolve(self, value: Any) -> Any:
        """*value* with CloudFormation's functions worked out. Raises TemplateError for unknown ones."""
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref":
                return self._ref(argument)
            if name.startswith("Fn::"):
                return self._intrinsic(name, argument)
        resolved = {key: self.resolve(one) for key, one in value.items()}
        return {key: one for key, one in resolved.items() if one is not _NO_VALUE}

    def _intrinsic(self, name: str, argument: Any) -> Any:
        known: Mapping[str, Callable[[Any], Any]] = {
            "Fn::GetAtt": lambda pair: self._attribute(*pair),
            "Fn::Sub": self._substituted,
            "Fn::If": lambda branches: self.resolve(branches[1 if self._holds(branches[0]) else 2]),
            "Fn::Equals": lambda pair: self.resolve(pair[0]) == self.resolve(pair[1]),
            "Fn::Not": lambda one: not self.resolve(one[0]),
            "Fn::Join": lambda parts: parts[0].join(map(str, self.resolve(parts[1]))),
        }
        if name not in known:
            raise TemplateError(f"the lab does not read {name}")
        return known[name](argument)

    def _holds(self, condition: str) -> bool:
        return bool(self.resolve(self._conditions[condition]))

    def _ref(self, name: str) -> Any:
        if name in self.parameters:
            return self.parameters[name]
        if name in self._resources:
            return self._physical(name)
        pseudo = {
            "AWS::AccountId": self.place.account,
            "AWS::Region": self.place.region,
            "AWS::StackName": self.place.stack,
            "AWS::StackId": self.place.arn("cloudformation", f"stack/{self.place.stack}/{_STACK_UUID}"),
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": _NO_VALUE,
        }
        if name not in pseudo:
            raise TemplateError(f"nothing is called {name}")
        return pseudo[name]

    def _substituted(self, text: str) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            return _text(self._attribute(*name.split(".", 1)) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def name_of(self, logical: str) -> str:
        """The name that the lab gives a resource: the template's own, or stack and logical name."""
        properties = self._resources[logical].get("Properties", {})
        own = next((properties[key] for key in _NAMES if key in properties), None)
        return str(self.resolve(own)) if own else f"{self.place.stack}-{logical}"

    def _physical(self, logical: str) -> str:
        name = self.name_of(logical)
        kind = self._resources[logical]["Type"]
        if kind == "AWS::SQS::Queue":
            return f"{self.place.endpoint}/{self.place.account}/{name}"
        if kind in {"AWS::IAM::ManagedPolicy", "AWS::Lambda::LayerVersion"}:
            return self.arn_of(logical)
        return name

    def arn_of(self, logical: str) -> str:
        """A resource's ARN. Raises TemplateError for a type whose ARN the lab has no use for."""
        kind = self._resources[logical]["Type"]
        if kind not in _ARNS:
            raise TemplateError(f"the lab knows no ARN of a {kind}")
        service, form = _ARNS[kind]
        return self.place.arn(service, form.format(self.name_of(logical)))

    def _attribute(self, logical: str, attribute: str) -> str:
        if attribute == "Arn":
            return self.arn_of(logical)
        if attribute == "StreamArn":
            return f"{self.arn_of(logical)}/stream/latest"
        if attribute == "QueueName":
            return self.name_of(logical)
        raise TemplateError(f"the lab knows no {attribute} of {logical}")


_NO_VALUE = object()
_NAMES = (
    "TableName",
    "QueueName",
    "FunctionName",
    "RoleName",
    "LogGroupName",
    "ManagedPolicyName",
    "LayerName",
)
_ARNS = {
    "AWS::DynamoDB::Table": ("dynamodb", "table/{}"),
    "AWS::SQS::Queue": ("sqs", "{}"),
    "AWS::Lambda::Function": ("lambda", "function:{}"),
    "AWS::Lambda::LayerVersion": ("lambda", "layer:{}:1"),
    "AWS::Events::Rule": ("events", "rule/{}"),
    "AWS::IAM::Role": ("iam", "role/{}"),
    "AWS::IAM::ManagedPolicy": ("iam", "policy/{}"),
    "AWS::Logs::LogGroup": ("logs", "log-group:{}:*"),
}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _on_failure(properties: Properties) -> str:
    return str(properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", ""))


def _with_defaults(declared: Mapping[str, Properties], given: Mapping[str, str]) -> dict[str, Any]:
    """Parameter values as CloudFormation takes them. Raises TemplateError for those it would refuse."""
    if unknown := given.keys() - declared.keys():
        raise TemplateError(f"no such parameters: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for name, parameter in declared.items():
        value = given.get(name, parameter.get("Default"))
        if value is None:
            raise TemplateError(f"parameter {name} has no value")
        _check(name, parameter, str(value))
        values[name] = str(value)
    return values


def _check(name: str, parameter: Properties, value: str) -> None:
    pattern = parameter.get("AllowedPattern", ".*")
    allowed = [str(one) for one in parameter.get("AllowedValues", [value])]
    if not re.fullmatch(pattern, value) or value not in allowed:
        raise TemplateError(f"parameter {name}: {value!r} is not allowed")
    if parameter["Type"] == "Number":
        low, high = parameter.get("MinValue", float("-inf")), parameter.get("MaxValue", float("inf"))
        if not low <= float(value) <= high:
            raise TemplateError(f"parameter {name}: {value} is not between {low} and {high}")


def _transformed(source: Properties, parameters: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The resources after SAM's transform, which needs the code to be in S3 and a region to be set."""
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://lab/code"
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = "s3://lab/code"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=place.region))
    resources: dict[str, Any] = translator.translate(source, dict(parameters))["Resources"]
    translator.metrics.publish()  # to nowhere; unpublished ones would be complained of on stderr
    return resources
