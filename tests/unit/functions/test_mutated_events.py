"""Whatever comes, nobody falls over, and no stranger costs a write.

``make soak ONLY=events`` sends 50,000 of them; an ordinary run sends a few, of another seed each time.
"""

from __future__ import annotations

from random import Random, SystemRandom
from typing import Any

from podway.domain.failover.decide import Claim
from podway.wire.batches import signals_of
from podway.wire.events import Dropped

from tests.unit.app.cluster import Play
from tests.unit.functions.mutation import ACCOUNT, EVENTS, HANDLERS, Bench, events, mutate

COUNT = 1500


def settled() -> Play:
    play = Play(quota=5)
    play.settle()
    return play


def test_no_event_upsets_a_handler_or_costs_a_stranger_a_write() -> None:
    """EC2 knows none of the instances that the documented events speak of."""
    seed = SystemRandom().randrange(10**9)
    bench = Bench(settled())
    before = bench.writes()

    with bench.in_place():
        for number, event in enumerate(events(Random(seed), COUNT)):
            fault = bench.give(event)
            assert not fault, f"seed {seed}, event {number}: {fault}"

    assert bench.writes() == before, f"seed {seed}"
    assert {f"{name} understood" for name in HANDLERS} | {"dropped", "reconcile ran"} <= bench.seen.keys()


def test_a_mutated_event_about_a_member_does_at_most_what_a_true_one_may() -> None:
    """Of a member one may be told anything: routes move between its subnet's nodes, and nothing else."""
    play, rng = settled(), Random(41)
    members = sorted(play.store.found_members)
    kept = {table: play.cloud.table(table).keys() for table in ("rtb-a", "rtb-b")}
    homes = {
        (table, destination): play.store.found_members[target.replace("eni-", "i-")].subnet
        for table in kept
        for destination, target in play.cloud.table(table).items()
    }
    single = [event for name, event in EVENTS.items() if not name.startswith(("queue", "stream"))]
    moved = 0

    for _ in range(400):
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
