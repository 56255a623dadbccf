"""Cuts botocore's service models down to the operations that Podway calls, for the layer's ``data`` folder.

Reading EC2's whole model (8 MB of JSON) takes about half of a function's cold start. botocore finds the small
models by ``AWS_DATA_PATH``. Without them it reads its own, and everything works, only slower.

Run ``.venv/bin/python layers/podway/trim.py`` when an adapter calls a new operation or botocore is raised.
Tests compare the files in ``data`` with what it would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from botocore.loaders import Loader

OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "dynamodb": (
        "DeleteItem",
        "DescribeTable",
        "GetItem",
        "PutItem",
        "Query",
        "TransactWriteItems",
        "UpdateItem",
    ),
    "ec2": (
        "CreateRoute",
        "CreateTags",
        "DeleteRoute",
        "DeleteTags",
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeManagedPrefixLists",
        "DescribeNetworkInterfaces",
        "DescribeRouteTables",
        "DescribeSubnets",
        "DescribeVpcs",
        "ModifyNetworkInterfaceAttribute",
        "ReplaceRoute",
    ),
}
"""What the adapters call, for the services whose models are large."""
FOLDER = Path(__file__).parent / "data"


def trimmed(service: str) -> dict[str, Any]:
    """The service's model with our operations and the shapes that they need, and without documentation."""
    whole = Loader(include_default_search_paths=True).load_service_model(service, "service-2")
    operations = {name: _undocumented(whole["operations"][name]) for name in OPERATIONS[service]}
    needed: set[str] = set()
    for operation in operations.values():
        for shape in _mentioned(operation):
            _collect(shape, whole["shapes"], needed)
    kept = {
        key: value for key, value in whole.items() if key in {"version", "metadata", "clientContextParams"}
    }
    return {
        **kept,
        "operations": operations,
        "shapes": {name: _undocumented(whole["shapes"][name]) for name in sorted(needed)},
    }


def _collect(name: str, shapes: Mapping[str, Any], needed: set[str]) -> None:
    if name in needed:
        return
    needed.add(name)
    for other in _mentioned(shapes[name]):
        _collect(other, shapes, needed)


def _mentioned(value: object) -> Iterator[str]:
    """The names of all shapes that a part of a model refers to."""
    if isinstance(value, Mapping):
        if isinstance(value.get("shape"), str):
            yield value["shape"]
        for one in value.values():
            yield from _mentioned(one)
    elif isinstance(value, list):
        for one in value:
            yield from _mentioned(one)


def _undocumented(value: Any) -> Any:
    """*value* without documentation texts. A shape's member of that name is a mapping, and stays."""
    if isinstance(value, Mapping):
        return {
            key: _undocumented(one)
            for key, one in value.items()
            if key != "documentation" or not isinstance(one, str)
        }
    return [_undocumented(one) for one in value] if isinstance(value, list) else value


def file_of(service: str) -> Path:
    """The path that botocore looks for: the service's name and its API's version."""
    version = Loader().determine_latest_version(service, "service-2")
    return FOLDER / service / version / "service-2.json"


def main() -> None:
    for service in OPERATIONS:
        path = file_of(service)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(trimmed(service), separators=(",", ":")) + "\n")
        print(f"{path}: {path.stat().st_size:,} bytes")  # noqa: T201  (a command's answer)


if __name__ == "__main__":
    main()
