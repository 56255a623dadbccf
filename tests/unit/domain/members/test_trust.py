"""Nobody but EC2 may assume the nodes' role, and nobody but the node reaches its IMDS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from podway.domain.members.trust import NodeIdentity, doubts


def trust(principal: Any, **more: Any) -> Mapping[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal} | more]}


ONLY_EC2 = trust({"Service": "ec2.amazonaws.com"})
NODE = NodeIdentity("i-1", "nodes", ONLY_EC2, tokens_required=True, hops=1)


def told(node: NodeIdentity) -> list[str]:
    return [f"{one.subject}: {one.what}" for one in doubts((node,))]


def test_a_role_for_ec2_alone_behind_tokens_and_one_hop_leaves_no_doubt() -> None:
    assert told(NODE) == []
    assert told(replace(NODE, trust=trust({"Service": ["ec2.amazonaws.com"]}))) == []


@pytest.mark.parametrize(
    ("principal", "who"),
    [
        ("*", "*"),
        ({"AWS": "*"}, "*"),
        ({"AWS": "arn:aws:iam::123456789012:root"}, "arn:aws:iam::123456789012:root"),
        ({"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]}, "lambda.amazonaws.com"),
        ({"Federated": "oidc"}, "oidc"),
    ],
    ids=str,
)
def test_whoever_else_may_assume_the_role_is_named(principal: Any, who: str) -> None:
    assert told(replace(NODE, trust=trust(principal))) == [f"nodes: {who} may assume it"]


def test_an_exception_from_everybody_is_still_everybody() -> None:
    policy = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "NotPrincipal": {"AWS": "x"}}}

    assert "NotPrincipal" in told(replace(NODE, trust=policy))[0]


def test_a_denial_is_no_doubt() -> None:
    assert told(replace(NODE, trust=trust("*", Effect="Deny"))) == []


def test_an_open_imds_and_a_missing_role_are_doubts_and_what_is_not_said_is_none() -> None:
    assert "HttpTokens" in told(replace(NODE, tokens_required=False))[0]
    assert "2 hops" in told(replace(NODE, hops=2))[0]
    assert told(replace(NODE, tokens_required=None, hops=None)) == []
    assert "no role" in told(NodeIdentity("i-1"))[0]
    assert "cannot be read" in told(replace(NODE, trust=None))[0]


def test_a_role_of_many_nodes_is_told_once() -> None:
    open_role = replace(NODE, trust=trust("*"))

    assert len(doubts((open_role, replace(open_role, instance="i-2")))) == 1
