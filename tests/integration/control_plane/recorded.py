"""A cluster as a former release left it, read from what `record` wrote.

The tests named `test_upgrade` ask, of control plane and agent.
"""

from __future__ import annotations

import base64
import json
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from podway.domain.addressing import Prefix
from podway.domain.health.alarms import alarm_name
from podway.domain.health.reassess import AlarmSeen
from podway.domain.signals import AlarmValue
from podway_lab.region import state as region_state

from tests.fakes.world import FakeClock
from tests.integration.control_plane.plane import US, Plane

KINDS: dict[str, type[Any]] = {
    name: kind for name, kind in vars(region_state).items() if is_dataclass(kind) and isinstance(kind, type)
}
FOLDER = Path(__file__).parent / "recorded"


@cache
def recorded(release: str) -> dict[str, Any]:
    """The record of *release*, by the commit that it was made from."""
    found: dict[str, Any] = json.loads((FOLDER / f"{release}.json").read_text())
    return found


def item(release: str, pk: str, sk: str) -> dict[str, Any]:
    """One item of the store, spelt as DynamoDB's JSON protocol has it: bytes are base64."""
    items = recorded(release)["items"]
    return next(one for one in items if (one["pk"]["S"], one["sk"]["S"]) == (pk, sk))


def decoded(value: Any) -> Any:
    """What `record.encoded` wrote."""
    match value:
        case {"Prefix": str(text)}:
            return Prefix.parse(text)
        case {"datetime": str(text)}:
            return datetime.fromisoformat(text)
        case dict() if len(value) == 1 and next(iter(value)) in KINDS:
            ((name, fields),) = value.items()
            return KINDS[name](**{field: decoded(one) for field, one in fields.items()})
        case dict():
            return {key: decoded(one) for key, one in value.items()}
        case list():
            return tuple(decoded(one) for one in value)
    return value


def upgraded(release: str, dynamodb: Any) -> Plane:
    """This release's control plane over the store and the EC2 that *release* left, at that moment."""
    found = recorded(release)
    for one in found["items"]:
        body = {"body": {"B": base64.b64decode(one["body"]["B"])}} if "body" in one else {}
        dynamodb.put_item(TableName="podway", Item=one | body)
    clock = FakeClock(datetime.fromisoformat(found["now"]))
    plane = Plane((), quota=found["quota"], dynamodb=dynamodb, clock=clock)
    plane.ids, plane.subnets, plane.tables = (
        dict(found["nodes"]),
        dict(found["subnets"]),
        dict(found["tables"]),
    )
    state = region_state.State(made=found["made"])
    for name, rows in found["state"].items():
        setattr(state, name, {one.id: one for one in map(decoded, rows)})
    ours: list[tuple[str, region_state.Route]] = []
    for row in found["route_tables"]:
        routes = [decoded(one) for one in row["routes"]]
        kept = {one.destination: one for one in routes if one.target.kind != "NetworkInterfaceId"}
        ours += [(row["id"], one) for one in routes if one.destination not in kept]
        state.tables[row["id"]] = region_state.Table(row["id"], row["vpc"], kept, row["tags"])
    plane.region.state = state
    us: Any = plane.region.client(US)
    for table, route in ours:  # through the API, so that the referee knows whose they are
        us.create_route(
            RouteTableId=table,
            DestinationCidrBlock=str(route.destination),
            NetworkInterfaceId=route.target.id,
        )
    for node, (value, at) in found["alarms"].items():
        told = AlarmSeen(alarm_name("demo", node), AlarmValue(value), datetime.fromisoformat(at), (node,))
        plane.alarms.standing[node] = told
    return plane
