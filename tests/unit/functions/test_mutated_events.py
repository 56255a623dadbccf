"""Events that AWS never documented: whatever comes, nobody falls over, and no stranger costs a write.

``PODWAY_EVENTS=50000`` mutates that many instead of the few of an ordinary run.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from podway.app.errors import TryAgain
from podway.domain.failover import Claim
from podway.wire.batches import hints, signals_of
from podway.wire.events import Dropped

from tests.unit.app.cluster import Play

COUNT = int(os.environ.get("PODWAY_EVENTS", "20000"))
ACCOUNT = "123456789012"
EVENTS = {path.stem: json.loads(path.read_text()) for path in sorted(Path("tests/events").glob("*.json"))}
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


@pytest.fixture(scope="module")
def play() -> Play:
    play = Play(quota=5)
    play.settle()
    return play


def test_no_mutated_event_upsets_a_handler_or_costs_a_stranger_a_write(play: Play) -> None:
    rng, seen = Random(8191), Counter[str]()
    before = len(play.cloud.writes), play.store.writes, len(play.cloud.checks_cleared)

    for number in range(COUNT):
        name = rng.choice(list(EVENTS))
        event = mutate(EVENTS[name], rng)
        try:
            said = [*signals_of(event, account=ACCOUNT), *(one.says for one in hints(event, account=ACCOUNT))]
            for signal in said:
                if isinstance(signal, Dropped):
                    seen[signal.reason] += 1
                    continue
                seen[type(signal).__name__] += 1
                for react in (play.failover.react, play.lifecycle.react):
                    react(signal)
        except TryAgain:
            seen["retried"] += 1
        except Exception as error:  # noqa: BLE001  (whatever it is, the event that did it is what we want)
            pytest.fail(f"event {number}, {name}: {error!r} of {event}")

    assert (len(play.cloud.writes), play.store.writes, len(play.cloud.checks_cleared)) == before
    assert play.hooks.completed == []
    assert len(seen) >= 10, f"mutation is too coarse: {seen}"


def test_a_mutated_event_about_a_member_does_at_most_what_a_true_one_may(play: Play) -> None:
    """Of a member one may be told anything: routes move between its subnet's nodes, and nothing else."""
    rng = Random(4099)
    members = sorted(play.store.found_members)
    kept = {table: play.cloud.table(table).keys() for table in ("rtb-a", "rtb-b")}
    homes = {
        (table, destination): play.store.found_members[target.replace("eni-", "i-")].subnet
        for table in kept
        for destination, target in play.cloud.table(table).items()
    }
    single = [event for name, event in EVENTS.items() if not name.startswith(("queue", "stream"))]
    moved = 0

    for _ in range(COUNT // 50):
        event = rng.choice(single)
        mutated = mutate(event, rng) if rng.random() < 0.5 else event
        for signal in signals_of(mutated, account=ACCOUNT):
            named = _about(signal, rng.choice(members))
            if named is not None:
                outcomes = play.failover.react(named) or play.lifecycle.react(named)
                moved += sum(len(one.moved) for one in outcomes)
        play.clock.go_on(seconds=61)

    assert moved, "no event moved anything"
    assert {table: play.cloud.table(table).keys() for table in kept} == kept
    assert homes == {
        (table, destination): play.store.found_members[target.replace("eni-", "i-")].subnet
        for table in kept
        for destination, target in play.cloud.table(table).items()
    }
    assert all(isinstance(card.claim, Claim | None) for card in play.store.cards.values())


def _about(signal: Any, node: str) -> Any:
    """The same signal, about a member."""
    if isinstance(signal, Dropped):
        return None
    names = getattr(type(signal), "__dataclass_fields__", {})
    changes: dict[str, Any] = {}
    if "instance" in names:
        changes["instance"] = node
    if "instances" in names:
        changes["instances"] = (node,)
    return type(signal)(**{name: changes.get(name, getattr(signal, name)) for name in names})
