"""A real table, as the template declares it, in moto."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from podway_lab.stack.template import Place, Template

from tests.integration.control_plane.plane import let_referees_rest


@pytest.fixture
def dynamodb() -> Iterator[Any]:
    """A client of DynamoDB with the table ``podway``."""
    template = Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())
    properties = template.properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        client.create_table(TableName="podway", **{name: properties[name] for name in wanted})
        yield client
        let_referees_rest()
