"""A good cluster document, and how to spoil one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Place = tuple[int | str, ...]
GOOD: dict[str, Any] = {
    "cluster": "demo",
    "pod_cidrs": ["100.64.0.0/16"],
    "vpc_cidrs": ["10.0.0.0/16"],
    "subnets": [
        {"id": "a", "supernets": ["100.64.0.0/20"], "availability_zone": "us-west-2a"},
        {"id": "b", "supernets": ["100.64.128.0/20"]},
    ],
    "nodes": [
        {"id": "i-1", "subnet": "a", "network_interface": "eni-1", "blocks": ["100.64.0.0/26"]},
        {
            "id": "i-2",
            "subnet": "a",
            "network_interface": "eni-2",
            "blocks": ["100.64.0.64/26"],
            "state": "draining",
            "health": "suspect",
            "weight": 2,
            "capacity": 0.5,
            "forwarder": "never",
        },
        {"id": "i-3", "subnet": "b", "network_interface": "eni-3", "blocks": ["100.64.128.0/26"]},
    ],
    "route_tables": [
        {
            "id": "rtb-a",
            "quota": 100,
            "reserve": 3,
            "subnets": ["a"],
            "routes": [
                {"destination": "10.0.0.0/16", "target": "local", "origin": "CreateRouteTable"},
                {"destination": "pl-1234", "target": "vpce-1", "state": "active"},
                {"destination": "100.64.128.0/20", "target": "eni-3", "owned": True},
            ],
        },
        {"id": "rtb-b", "routes": []},
    ],
}


def places(here: Any, place: Place = ()) -> Iterator[Place]:
    """Every place of a document, the document itself left out."""
    for step, value in here.items() if isinstance(here, dict) else enumerate(here):
        yield (*place, step)
        if isinstance(value, dict | list):
            yield from places(value, (*place, step))


def changed(place: Place, value: Any) -> dict[str, Any]:
    """The good document with another value in one place."""
    document = copy.deepcopy(GOOD)
    _parent(document, place)[place[-1]] = value
    return document


def without(place: Place) -> dict[str, Any]:
    """The good document without one of its fields or items."""
    document = copy.deepcopy(GOOD)
    del _parent(document, place)[place[-1]]
    return document


def _parent(document: Any, place: Place) -> Any:
    for step in place[:-1]:
        document = document[step]
    return document
