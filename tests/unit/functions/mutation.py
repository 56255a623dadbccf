"""Events that AWS never documented, and the handlers over a cluster in memory that they are given to."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from podway import bootstrap
from podway.app.errors import TryAgain
from podway.domain.health.alarms import AlarmNames
from podway_lab.stack.output import InvocationOutput

from tests.unit.app.cluster import Play

ACCOUNT = "123456789012"
EVENTS = {path.stem: json.loads(path.read_text()) for path in sorted(Path("tests/events").glob("*.json"))}
HANDLERS = ("failover", "lifecycle", "reconcile")
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**400, 1e308, float("nan"), [], [[]], {}, {"S": 1}, {"instance-id": "i-1"}),
    *("", " ", "i-", "i-0123456789abcdef0\n", "é" * 300, "\x00", "{", "[1]", "999999999999", "aws.ec2"),
    *("2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-11-22T12:00:00"),
    *("ALARM", "OK", "running", "terminated"),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a document."""
    found = [path] if path else []
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        found += places(one, (*path, key))
    return found


def mutate(event: Any, rng: Random) -> Any:
    """The event with one to four places removed, exchanged, doubled or replaced by something odd."""
    after = deepcopy(event)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        known = places(after)
        if not known:
            break
        *way, last = rng.choice(known)
        there = after
        for key in way:
            there = there[key]
        match rng.randrange(5):
            case 0:
                del there[last]
            case 1:
                there[last] = rng.choice(ODD)
            case 2:
                there[last] = [there[last]]
            case 3 if isinstance(there, dict):
                there[rng.choice(("state", "detail", "Records", "instance-id", "x"))] = deepcopy(there[last])
            case _:
                donor = rng.choice(list(EVENTS.values()))
                there[last] = deepcopy(rng.choice(list(donor.values())))
    return after


def rubbish(rng: Random, depth: int = 0) -> Any:
    """A document that has nothing of an event."""
    keys = ("source", "detail-type", "detail", "Records", "body", "dynamodb", "alarmData", "id", "time", "x")
    match rng.randrange(4 if depth < 4 else 1):
        case 0:
            return rng.choice(ODD)
        case 1:
            return [rubbish(rng, depth + 1) for _ in range(rng.randrange(3))]
        case _:
            return {rng.choice(keys): rubbish(rng, depth + 1) for _ in range(rng.randrange(5))}


class _Context:
    """What Lambda hands to a handler."""

    function_name, function_version, memory_limit_in_mb = "podway", "1", 512
    invoked_function_arn = f"arn:aws:lambda:us-west-2:{ACCOUNT}:function:podway"
    aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 120_000


@dataclass
class Bench:
    """The handlers as they are deployed; only what ``bootstrap`` builds is over memory."""

    play: Play
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        output = InvocationOutput()  # loggers keep the stream that they find when they are made
        output.stand_in()
        try:
            self.handlers = {name: _load(name) for name in HANDLERS}
        finally:
            output.step_back()

    @contextmanager
    def in_place(self) -> Iterator[Bench]:
        """While this lasts the handlers reach this cluster, and print nothing."""
        built: Mapping[str, Any] = {
            "failover": lambda: self.play.failover,
            "lifecycle": lambda: self.play.lifecycle,
            "reconcile": lambda: SimpleNamespace(run=self._reconcile),
            "settings": lambda: SimpleNamespace(cluster="demo"),
            "alarm_names": lambda: AlarmNames("demo", "podway-production-"),
        }
        logger = logging.getLogger("podway")
        level = logger.level
        logger.setLevel("CRITICAL")
        try:
            with patch.multiple(bootstrap, **built), redirect_stdout(io.StringIO()):
                yield self
        finally:
            logger.setLevel(level)

    def _reconcile(self, owner: str, *, deadline: Any) -> Any:
        del owner, deadline
        self.seen["reconcile ran"] += 1
        return self.play.reconcile()

    def give(self, event: Any) -> str:
        """The event to every handler; what one of them raised that no retry can mend."""
        for name, handler in self.handlers.items():
            try:
                said = handler(deepcopy(event), _Context())
            except TryAgain:
                self.seen["retried"] += 1
            except Exception as error:  # noqa: BLE001  (whatever it is, it is what we look for)
                return f"{name}: {error!r} of {event!r}"
            else:
                self.seen["dropped" if said.get("dropped") else f"{name} understood"] += 1
        return ""

    def writes(self) -> tuple[int, ...]:
        """How often anything was changed, anywhere."""
        cloud, store = self.play.cloud, self.play.store
        hooks, alarms = self.play.hooks, self.play.alarms
        hooked = len(hooks.completed) + len(hooks.extended)
        return len(cloud.writes), store.writes, len(cloud.checks_cleared), hooked, alarms.calls


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"function_{name}", f"functions/{name}/app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.handler


def events(rng: Random, count: int) -> Iterator[Any]:
    """So many events: as documented, mutated, or rubbish."""
    for _ in range(count):
        match rng.randrange(20):
            case 0:
                yield rng.choice(list(EVENTS.values()))
            case 1:
                yield {"Records": rubbish(rng)} if rng.random() < 0.5 else {"detail": rubbish(rng)}
            case _:
                yield mutate(rng.choice(list(EVENTS.values())), rng)
