"""Reads the roles that the nodes run under, and how their IMDS answers. Called by `podway check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podway.adapters.aws_errors import aws_errors, part
from podway.app.errors import NeedsOperator, Unexpected
from podway.domain.members.trust import NodeIdentity


class NodeIdentities:
    """The Identities port over clients of EC2 and IAM."""

    def __init__(self, ec2: Any, iam: Any, *, cluster: str, node_tag: str) -> None:
        self._ec2, self._iam = ec2, iam
        self._filters = [
            {"Name": f"tag:{node_tag}", "Values": [cluster]},
            {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
        ]

    def of_members(self) -> tuple[NodeIdentity, ...]:
        """One for each instance with the cluster's tag. Each role is read once."""
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=self._filters)
        with aws_errors():
            found = [
                one for page in pages for r in part(page, "Reservations") for one in part(r, "Instances")
            ]
        profiles = {_profile(one) for one in found} - {""}
        roles = {profile: self._role(profile) for profile in sorted(profiles)}
        return tuple(
            _identity(one, *roles.get(_profile(one), ("", None)))
            for one in sorted(found, key=lambda one: str(one["InstanceId"]))
        )

    def _role(self, profile: str) -> tuple[str, Mapping[str, Any] | None]:
        """The role of an instance profile, and its trust policy: None if we may not read it."""
        try:
            with aws_errors():
                answer = self._iam.get_instance_profile(InstanceProfileName=profile)
        except (NeedsOperator, Unexpected):
            return profile, None
        roles = answer["InstanceProfile"]["Roles"]
        return (roles[0]["RoleName"], roles[0]["AssumeRolePolicyDocument"]) if roles else ("", None)


def _profile(one: Mapping[str, Any]) -> str:
    return str(one.get("IamInstanceProfile", {}).get("Arn", "")).rpartition("/")[2]


def _identity(one: Mapping[str, Any], role: str, trust: Mapping[str, Any] | None) -> NodeIdentity:
    options = one.get("MetadataOptions", {})
    tokens = options.get("HttpTokens")
    if options.get("HttpEndpoint") == "disabled":
        return NodeIdentity(one["InstanceId"], role, trust)
    return NodeIdentity(
        one["InstanceId"],
        role,
        trust,
        tokens == "required" if tokens else None,
        options.get("HttpPutResponseHopLimit"),
    )
