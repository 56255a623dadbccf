"""Reads the settings of a stack's functions from the stack itself. Called by the commands' ``--stack``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podway.adapters.aws_errors import aws_errors

SETTINGS: Mapping[str, str] = {
    "ClusterName": "PODWAY_CLUSTER",
    "VpcId": "PODWAY_VPC",
    "PodCidrs": "PODWAY_POD_CIDRS",
    "NodeTagKey": "PODWAY_NODE_TAG",
    "BlockLength": "PODWAY_BLOCK_LENGTH",
    "RouteReserve": "PODWAY_ROUTE_RESERVE",
    "RouteQuota": "PODWAY_ROUTE_QUOTA",
    "QuarantineSeconds": "PODWAY_QUARANTINE_SECONDS",
    "HoldDownSeconds": "PODWAY_HOLD_DOWN_SECONDS",
    "AlarmPrefix": "PODWAY_ALARM_PREFIX",
    "TableName": "PODWAY_TABLE",
    "QueueUrl": "PODWAY_QUEUE_URL",
    "StackId": "PODWAY_STACK_ID",
}
"""Parameters and outputs of template.yaml, the stack's own id, and the variable that each fills."""


def settings_of_stack(client: Any, name: str) -> dict[str, str]:
    """The ``PODWAY_*`` variables of a stack. Raises NeedsOperator when there is no such stack."""
    with aws_errors():
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    said = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
    said |= {one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])}
    said |= {key: stack[key] for key in ("StackId",) if key in stack}
    return {variable: said[key] for key, variable in SETTINGS.items() if key in said}
