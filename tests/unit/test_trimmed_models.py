"""The layer's small service models: what adapters call is in them, and nothing needs them to be there."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.stub import Stubber

LAYER = Path("layers/podway")
ADAPTERS = LAYER / "src" / "podway" / "adapters"
SERVICE_OF = {
    "autoscaling": "autoscaling",
    "identities": "iam",
    "bus": "events",
    "cloudwatch": "cloudwatch",
    "dynamodb": "dynamodb",
    "ec2": "ec2",
    "fast_store": "dynamodb",
    "ledger": "dynamodb",
    "queue": "sqs",
    "quotas": "service-quotas",
    "stacks": "cloudformation",
    "table": "dynamodb",
}


def methods_of(service: str) -> dict[str, str]:
    """Every operation of a service by its name in Python."""
    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): name for name in model.operation_names}


def mentioned(path: Path) -> Iterator[str]:
    """Attributes and texts of a module: the first are called, the second name what to page through."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def called(service: str) -> set[str]:
    """The operations that the adapters of a service name."""
    methods = methods_of(service)
    modules = [ADAPTERS / f"{name}.py" for name, one in SERVICE_OF.items() if one == service]
    return {methods[word] for path in modules for word in mentioned(path) if word in methods}


def in_layer(service: str) -> dict[str, Any]:
    (path,) = (LAYER / "data" / service).glob("*/service-2.json")
    model: dict[str, Any] = json.loads(path.read_text())
    return model


def test_every_adapter_that_speaks_to_aws_is_known_here() -> None:
    speaking = {
        path.stem
        for path in ADAPTERS.glob("*.py")
        if any(word in {"_client", "get_paginator"} for word in mentioned(path))
    }

    assert speaking <= SERVICE_OF.keys()


@pytest.mark.parametrize("service", ["dynamodb", "ec2"])
def test_every_operation_that_the_adapters_call_is_in_the_trimmed_model(service: str) -> None:
    assert called(service), "the adapters of this service were not found"
    assert called(service) == in_layer(service)["operations"].keys()


def test_the_trimmed_models_are_what_would_be_cut_from_the_installed_botocore() -> None:
    script = (
        "import json, runpy; cut = runpy.run_path('layers/podway/trim.py');"
        "print(json.dumps({name: cut['trimmed'](name) for name in cut['OPERATIONS']}))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    now = json.loads(said.stdout)

    assert now.keys() == {path.name for path in (LAYER / "data").iterdir()}
    for service, model in now.items():
        assert model == in_layer(service), "run: .venv/bin/python layers/podway/trim.py"


@pytest.mark.parametrize("service", ["dynamodb", "ec2"])
def test_requests_and_answers_are_the_same_with_the_trimmed_model(service: str) -> None:
    whole = botocore.session.get_session().get_service_model(service)
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.insert(0, str((LAYER / "data").resolve()))
    small = session.get_service_model(service)

    assert set(small.operation_names) < set(whole.operation_names)
    for name in small.operation_names:
        for side in ("input_shape", "output_shape"):
            assert described(getattr(small.operation_model(name), side)) == described(
                getattr(whole.operation_model(name), side)
            ), name


def described(shape: Any, seen: tuple[str, ...] = ()) -> Any:
    """All that a serialiser or parser looks at, as far down as it goes."""
    if shape is None or shape.name in seen:
        return shape and shape.name
    inner = (*seen, shape.name)
    facts = [
        shape.name,
        shape.type_name,
        dict(shape.serialization),
        sorted(getattr(shape, "required_members", [])),
    ]
    if shape.type_name == "structure":
        return [*facts, {name: described(member, inner) for name, member in shape.members.items()}]
    if shape.type_name == "list":
        return [*facts, described(shape.member, inner)]
    if shape.type_name == "map":
        return [*facts, described(shape.key, inner), described(shape.value, inner)]
    return facts


def test_a_client_of_the_trimmed_model_calls_and_refuses_as_any_other() -> None:
    session = botocore.session.get_session()
    session.get_component("data_loader").search_paths.insert(0, str((LAYER / "data").resolve()))
    client: Any = session.create_client(
        "ec2", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    given = {"RouteTableId": "rtb-1", "DestinationCidrBlock": "100.64.0.0/16", "NetworkInterfaceId": "eni-1"}

    with Stubber(client) as stubber:
        stubber.add_response("replace_route", {}, given)
        stubber.add_client_error("replace_route", "InvalidRoute.NotFound")
        client.replace_route(**given)
        with pytest.raises(client.exceptions.ClientError, match="NotFound"):
            client.replace_route(**given)

    assert client.get_paginator("describe_route_tables")
    assert not hasattr(client, "terminate_instances")
