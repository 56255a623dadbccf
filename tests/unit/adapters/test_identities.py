"""Roles and IMDS of the nodes, as EC2 and IAM say them."""

from __future__ import annotations

import json
from typing import Any

import boto3
from moto import mock_aws
from podway.adapters.identities import NodeIdentities
from podway.domain.members.trust import NodeIdentity

KEY = {"region_name": "us-west-2", "aws_access_key_id": "key", "aws_secret_access_key": "secret"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
TAGS = [{"ResourceType": "instance", "Tags": [{"Key": "podway:cluster", "Value": "demo"}]}]


def launch(ec2: Any, **more: Any) -> str:
    made = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, **more)
    return str(made["Instances"][0]["InstanceId"])


def test_members_are_read_with_their_roles_trust_and_their_imds() -> None:
    with mock_aws():
        ec2: Any = boto3.client("ec2", **KEY)  # type: ignore[call-overload]  # the key as a mapping
        iam: Any = boto3.client("iam", **KEY)  # type: ignore[call-overload]  # as above
        iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=json.dumps(TRUST))
        arn = iam.create_instance_profile(InstanceProfileName="nodes")["InstanceProfile"]["Arn"]
        iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName="nodes")
        member = launch(
            ec2,
            TagSpecifications=TAGS,
            IamInstanceProfile={"Arn": arn},
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
        )
        bare = launch(ec2, TagSpecifications=TAGS)
        launch(ec2)

        found = NodeIdentities(ec2, iam, cluster="demo", node_tag="podway:cluster").of_members()

    by_instance = {one.instance: one for one in found}
    assert by_instance.keys() == {member, bare}
    assert by_instance[member] == NodeIdentity(member, "nodes", TRUST, tokens_required=True, hops=1)
    assert by_instance[bare].role == ""
