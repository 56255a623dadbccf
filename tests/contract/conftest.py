"""Every EC2 that must keep the contract: the model in-process, and boto3 over HTTP to its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from podway_lab.region.model import StrictEC2
from podway_lab.region.server import RegionServer

from tests.contract.strict_ec2 import World, make_world


@pytest.fixture(scope="module")
def http() -> Iterator[tuple[Any, Callable[[StrictEC2], None]]]:
    """A boto3 client of a server whose region each test replaces by its own."""
    with RegionServer() as server:
        client = boto3.client(
            "ec2",
            region_name="us-west-2",
            endpoint_url=server.url,
            aws_access_key_id="operator",
            aws_secret_access_key="unchecked",
            config=Config(retries={"total_max_attempts": 1}),
        )
        yield client, server.serve


@pytest.fixture(params=["in-process", "http"])
def world(request: pytest.FixtureRequest) -> World:
    region = StrictEC2()
    if request.param == "in-process":
        return make_world(region.client(), region)
    client, serve = request.getfixturevalue("http")
    serve(region)
    return make_world(client, region)
