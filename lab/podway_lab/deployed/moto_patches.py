"""What moto's CloudFormation, Lambda and EventBridge lack for a real ``sam deploy`` of our template.

Each patch says what is wrong in moto 5.2.5; nothing else in the lab reaches into moto for this. The lab calls
`patch_moto` before it deploys, as often as it likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import yaml
from moto.awslambda.models import LambdaFunction, LayerVersion, lambda_backends
from moto.cloudformation import models, parsing, responses
from moto.cloudformation.exceptions import ValidationError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.models.table import StreamShard
from moto.events.models import Rule
from moto.s3.models import s3_backends
from moto.sqs.models import Queue, sqs_backends
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

Json = dict[str, Any]


@cache
def patch_moto() -> None:
    """Patch moto, for the life of this process; twice is fine."""
    change_set: Any = models.ChangeSet
    mended: tuple[tuple[Any, str, Any], ...] = (
        (responses, "get_stack_from_s3_url", _template_at),
        (change_set, "_parse_template", _transforming(change_set._parse_template)),  # noqa: SLF001  (moto has no hook here)
        (change_set, "apply", _with_outputs(change_set.apply)),
        (parsing, "get_model_map", _with_ours(parsing.get_model_map)),
        (parsing, "resource_class_from_type", _refusing_unknown(parsing.resource_class_from_type)),
        (LambdaFunction, "create_from_cloudformation_json", classmethod(_create_function)),
        (LayerVersion, "physical_resource_id", property(lambda self: self.arn)),
        # The lab's own delivery carries events and polls sources; moto would run Docker for the same.
        (Rule, "send_to_targets", lambda *_, **__: None),
        (Queue, "add_message", _unheard(Queue.add_message, lambda queue: queue)),
        (StreamShard, "add", _unheard(StreamShard.add, lambda shard: shard.table)),
    )
    for owner, name, value in mended:
        setattr(owner, name, value)


# ---- CloudFormation -------------------------------------------------------------------------------


def _template_at(template_url: str, account_id: str, partition: str) -> str:
    """The template at an S3 URL, on any host. Moto takes the host's first label for the bucket."""
    bucket, _, key = unquote(urlsplit(template_url).path).lstrip("/").partition("/")
    found = s3_backends[account_id][partition].get_object(bucket, key)
    if found is None:
        raise ValidationError("Stack", f"S3 error: {template_url} does not exist")
    text: str = found.value.decode()
    return text


def _transforming(parse: Callable[[Any], None]) -> Callable[[Any], None]:
    """Expand AWS::Serverless. Moto does not, and leaves its resources out without a word."""

    @wraps(parse)
    def parsed(change_set: Any) -> None:
        parse(change_set)
        if change_set.template_dict.get("Transform") == "AWS::Serverless-2016-10-31":
            region = change_set.stack.region_name
            change_set.template_dict = _expanded(change_set.template, change_set.parameters, region)

    return parsed


def _expanded(template: str, parameters: Mapping[str, str], region: str) -> Json:
    source = yaml.load(template, Loader=yaml.Loader)  # noqa: S506  (moto's constructors for short forms are there)
    declared = source.get("Parameters", {})
    values = {name: one["Default"] for name, one in declared.items() if "Default" in one} | dict(parameters)
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=region))
    expanded: Json = translator.translate(source, values)
    translator.metrics.publish()  # to nowhere; unpublished ones would be complained of on stderr
    return expanded


def _with_outputs(apply: Callable[[Any], None]) -> Callable[[Any], None]:
    """Give the stack its outputs, which moto's change sets leave out."""

    @wraps(apply)
    def applied(change_set: Any) -> None:
        apply(change_set)
        stack = change_set.stack
        stack.template_dict = change_set.template_dict
        stack.output_map = stack._create_output_map()  # noqa: SLF001  (moto has no other way)

    return applied


def _with_ours(known: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
    return lambda: {**known(), **_KINDS}


def _refusing_unknown(find: Callable[[str], Any]) -> Callable[[str], Any]:
    """Refuse what neither moto nor this module can make; moto skips it."""

    @wraps(find)
    def found(resource_type: str) -> Any:
        if resource_type in parsing.NULL_MODELS or resource_type in parsing.get_model_map():
            return find(resource_type)
        raise ValidationError("Stack", f"the lab's region cannot make a {resource_type}")

    return found


# ---- Lambda ---------------------------------------------------------------------------------------

_FUNCTION = (
    "Architectures",
    "Code",
    "Description",
    "Environment",
    "Handler",
    "Layers",
    "MemorySize",
    "ReservedConcurrentExecutions",
    "Role",
    "Runtime",
    "Timeout",
)


def _create_function(
    _cls: Any,
    /,
    resource_name: str,
    cloudformation_json: Json,
    account_id: str,
    region_name: str,
    **__: Any,
) -> LambdaFunction:
    """Keep the layers and architectures, which moto drops."""
    properties = cloudformation_json["Properties"]
    wanted = {key: properties[key] for key in _FUNCTION if key in properties}
    made: LambdaFunction = lambda_backends[account_id][region_name].create_function(
        {"FunctionName": resource_name, **wanted}
    )
    return made


def _unheard(put: Callable[..., Any], source: Callable[[Any], Any]) -> Callable[..., Any]:
    """*put* without moto's mappings: moto would run the mapped functions in Docker at once."""

    @wraps(put)
    def putting(self: Any, *given: Any, **more: Any) -> Any:
        source(self).lambda_event_source_mappings = {}
        return put(self, *given, **more)

    return putting


# ---- types that moto does not know ----------------------------------------------------------------


class _Made(CloudFormationModel):
    """A resource of a type that moto does not know; subclasses say how it is made."""

    def __init__(self, name: str, properties: Json, account: str, region: str) -> None:
        self.physical_resource_id = name
        self.properties = properties
        self.place = (account, region)
        self.make()

    def make(self) -> None:
        """Keep the properties as they are: nothing in the lab acts on them."""

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute: str) -> str:
        account, region = self.place
        return f"arn:aws:lab:{region}:{account}:{self.physical_resource_id}/{attribute}"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Json, account_id: str, region_name: str, **_: Any
    ) -> _Made:
        return cls(resource_name, cloudformation_json.get("Properties", {}), account_id, region_name)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: Any,
        new_resource_name: str,
        cloudformation_json: Json,
        account_id: str,
        region_name: str,
    ) -> _Made:
        del original_resource
        return cls(new_resource_name, cloudformation_json.get("Properties", {}), account_id, region_name)

    def delete(self, account_id: str, region_name: str) -> None:
        """Nothing: it goes with the stack."""

    def is_created(self) -> bool:
        return True


class _QueuePolicy(_Made):
    def make(self) -> None:
        account, region = self.place
        policy = json.dumps(self.properties["PolicyDocument"])
        for url in self.properties["Queues"]:
            backend = sqs_backends[account][region]
            backend.set_queue_attributes(url.rpartition("/")[2], {"Policy": policy})


class _EventInvokeConfig(_Made):
    def make(self) -> None:
        account, region = self.place
        config = {
            key: value for key, value in self.properties.items() if key not in {"FunctionName", "Qualifier"}
        }
        lambda_backends[account][region].put_function_event_invoke_config(
            self.properties["FunctionName"], config
        )


class _Alarm(_Made):
    def make(self) -> None:
        """A new alarm without data, as in CloudWatch. Nobody measures in the lab."""
        account, region = self.place
        given = self.properties
        self.physical_resource_id = given.get("AlarmName", self.physical_resource_id)
        alarm = cloudwatch_backends[account][region].put_metric_alarm(
            name=self.physical_resource_id,
            namespace=given.get("Namespace", ""),
            metric_name=given.get("MetricName", ""),
            comparison_operator=given["ComparisonOperator"],
            evaluation_periods=int(given["EvaluationPeriods"]),
            period=int(given.get("Period", 60)),
            threshold=float(given.get("Threshold", 0)),
            statistic=given.get("Statistic", ""),
            description=given.get("AlarmDescription", ""),
            dimensions=given.get("Dimensions", []),
            alarm_actions=given.get("AlarmActions", []),
        )
        alarm.state_value = "INSUFFICIENT_DATA"

    def delete(self, account_id: str, region_name: str) -> None:
        cloudwatch_backends[account_id][region_name].delete_alarms([self.physical_resource_id])


_KINDS: Mapping[str, Any] = {
    "AWS::CloudWatch::Alarm": _Alarm,
    "AWS::CloudWatch::Dashboard": _Made,
    "AWS::Lambda::EventInvokeConfig": _EventInvokeConfig,
    "AWS::Logs::MetricFilter": _Made,
    "AWS::S3::BucketPolicy": _Made,
    "AWS::SQS::QueuePolicy": _QueuePolicy,
}
