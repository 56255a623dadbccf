"""What things cost in calls: a failover, a node that relays nothing, a run with nothing to do.

EC2 is the strict model, DynamoDB a real table in moto, and the quota is asked of a client that counts.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from podway.adapters.cloudwatch import NodeAlarms
from podway.adapters.dynamodb import DynamoStore
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.fast_store import FastStore
from podway.adapters.machine import Threads
from podway.adapters.quotas import RouteQuota
from podway.app.failover import Failover
from podway.app.outcome import FailoverOutcome
from podway.app.ports import ClaimAnswer
from podway.app.reconcile import Reconcile
from podway.domain.health.alarms import AlarmNames
from podway.domain.run.seen import Rules
from podway.domain.signals import AgentReported, InstanceState, StateChanged

from tests.integration.control_plane.plane import HOLD_DOWN, LEASE, POD_CIDR, QUARANTINE, US, Plane
from tests.integration.control_plane.test_life import TIGHT, mutations

NODES = ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4", "b5", "c1", "c2")


class Quotas:
    """Service Quotas, counting."""

    def __init__(self) -> None:
        self.asked = 0

    def get_service_quota(self, **_: Any) -> Any:
        self.asked += 1
        return {"Quota": {"Value": 500.0}}


class Calls:
    """Every call that leaves for AWS, in order, until the last ReplaceRoute."""

    def __init__(self, plane: Plane, dynamodb: Any) -> None:
        self._plane, self._mark = plane, plane.region.calls.mark()
        self.made: list[str] = []
        self._lock = threading.Lock()
        dynamodb.meta.events.register("before-call.dynamodb.*", self._note)

    def _note(self, model: Any, **_: Any) -> None:
        with self._lock:
            self.made.append(model.name)

    def note_ec2(self) -> Counter[str]:
        ours = self._plane.region.calls.made(caller=US, since=self._mark)
        return Counter(call.action.removeprefix("ec2:") for call in ours)


def another(dynamodb: Any, service: str = "dynamodb") -> Any:
    """A client whose calls are the functions' alone: the referee asks the table as well."""
    made: Any = boto3.client  # its types ask for a literal
    return made(
        service,
        region_name=dynamodb.meta.region_name,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def cold(plane: Plane, quotas: Quotas, store: DynamoStore | None = None) -> Failover:
    """The use case as a function has it that was never invoked before."""
    client: Any = plane.region.client(US)
    return Failover(
        cloud=Ec2Cloud(client, cluster="demo", quota=RouteQuota(quotas)),  # type: ignore[arg-type]  # counts
        store=store or plane.store,
        hints=plane.hints,
        clock=plane.clock,
        parallel=Threads(),
        hold_down=HOLD_DOWN,
    )


def settled(dynamodb: Any = None, quota: int = TIGHT) -> Plane:
    plane = Plane(NODES, quota=quota, dynamodb=dynamodb)
    plane.settle()
    return plane


def relayed(plane: Plane, name: str) -> int:
    """Routes that carry others' blocks through the node, summed over tables."""
    return sum(route.weight > 0 for route in plane.store.recall().cards[plane.ids[name]].routes)


def test_a_failover_costs_its_routes_and_five_calls_in_two_waves_with_cold_caches_too(dynamodb: Any) -> None:
    plane, quotas = settled(dynamodb), Quotas()
    busy = plane.busiest("b")
    routes, on_card = relayed(plane, busy), len(plane.store.recall().cards[plane.ids[busy]].routes)
    event, calls = plane.dies(busy), Calls(plane, dynamodb)
    until_last: list[int] = []
    failover = cold(plane, quotas)
    plane.region.subscribe(lambda _: until_last.append(len(calls.made)))

    (outcome,) = failover.react(event)

    made = calls.note_ec2()
    assert outcome.waves == 2
    assert len(outcome.moved) == on_card >= routes > 0
    assert made == {"DescribeRouteTables": 1, "ReplaceRoute": on_card}
    assert sum(made.values()) + until_last[-1] <= on_card + 5, "from the event to the last replacement"
    assert quotas.asked == 0, "the fast path needs no quota"
    assert isinstance(plane.store, FastStore)


def test_peers_are_believed_within_three_waves(dynamodb: Any) -> None:
    plane = settled(dynamodb)
    busy = plane.busiest("b")
    node = plane.ids[busy]
    one, other, _ = plane.store.recall().cards[node].watchers
    failover = cold(plane, Quotas())

    alone = failover.react(AgentReported("first", plane.clock.now(), one, (node,)))
    again = failover.react(AgentReported("again", plane.clock.now(), one, (node,)))
    (outcome,) = failover.react(AgentReported("second", plane.clock.now(), other, (node,)))

    assert (alone, again) == ((), ()), "one voice, however often it speaks"
    assert outcome.waves == 3
    assert outcome.moved
    assert plane.interface(busy) not in {*plane.table("a").values(), *plane.table("c").values()}


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("others", [("a1",), ("a1", "c1", "d1", "e1", "f1")], ids=["one route", "several"])
def test_peers_failover_costs_its_routes_and_five_calls(
    dynamodb: Any, others: tuple[str, ...], warm: bool
) -> None:
    plane = Plane(("b1", "b2", "b3", "b4", *others), quota=TIGHT, dynamodb=dynamodb)
    plane.settle()
    client = another(dynamodb)
    failover = cold(plane, Quotas(), DynamoStore(client, table="podway", cluster="demo"))
    if warm:
        failover.react(plane.dies("b4"))
        plane.settle()
    cards = [card for card in plane.store.recall().cards.values() if card.watchers]
    busy = max(cards, key=lambda card: len(card.routes))
    node, on_card, (one, other, *_) = busy.node, busy.routes, busy.watchers
    first = Calls(plane, client)
    assert failover.react(AgentReported("first", plane.clock.now(), one, (node,))) == ()
    alone = Counter(first.made)
    calls = Calls(plane, client)
    until_last: list[int] = []
    plane.region.subscribe(lambda _: until_last.append(len(calls.made)))

    (outcome,) = failover.react(AgentReported("second", plane.clock.now(), other, (node,)))

    made = calls.note_ec2()
    assert alone == {"GetItem": 1, "Query": 1, "PutItem": 1}, "a voice that convicts nobody: no call of EC2"
    assert first.note_ec2() == made == {"DescribeRouteTables": 1, "ReplaceRoute": len(on_card)}
    assert len(on_card) == len({one.table for one in on_card})
    assert (len(on_card) > 1) == (len(others) > 1), "one route, or one in each of several tables"
    assert outcome.waves == 3
    assert sum(made.values()) + until_last[-1] <= len(on_card) + 5, "from the event to the last replacement"
    taken_over_by = len({move.standby.node for move in outcome.moved})
    assert Counter(calls.made) == {
        "GetItem": 1,  # its card: who watches it
        "Query": 2,  # all verdicts, and again once the routes have moved
        "UpdateItem": 3
        + taken_over_by,  # the claim; tokens, the end of the claim, and the new next hops' cards
        "PutItem": 1,  # the verdict
        "TransactWriteItems": 1,  # the history
    }


def test_who_does_not_watch_or_is_of_another_subnet_moves_nothing(dynamodb: Any) -> None:
    plane = settled(dynamodb)
    busy = plane.busiest("b")
    node, mark = plane.ids[busy], plane.region.calls.mark()
    watchers = plane.store.recall().cards[node].watchers
    outsiders = [name for name in NODES if plane.ids[name] not in (*watchers, node)]
    assert any(name[0] == "b" for name in outsiders), "a sibling that does not watch"

    for number, name in enumerate(outsiders):
        plane.failover.react(AgentReported(f"event {number}", plane.clock.now(), plane.ids[name], (node,)))

    assert mutations(plane, mark) == []
    assert node not in plane.store.verdicts()


def test_a_node_that_relays_nothing_costs_no_route_call(dynamodb: Any) -> None:
    plane = settled(dynamodb)
    idle = next(name for name in NODES if not plane.store.recall().cards[plane.ids[name]].routes)
    mark = plane.region.calls.mark()

    (outcome,) = plane.failover.react(plane.dies(idle))

    assert (outcome.waves, outcome.calls) == (1, 0)
    assert mutations(plane, mark) == []


@pytest.mark.parametrize("workers", [3])
def test_three_states_of_one_instance_handled_at_once_move_each_route_once(workers: int) -> None:
    for attempt in range(5):
        plane = settled()
        busy = plane.busiest("b")
        on_card = len(plane.store.recall().cards[plane.ids[busy]].routes)
        plane.terminate(busy)
        states = (InstanceState.STOPPING, InstanceState.STOPPED, InstanceState.SHUTTING_DOWN)
        events = [
            StateChanged(f"{attempt} {state}", plane.clock.now(), plane.ids[busy], state) for state in states
        ]
        mark, start = plane.region.calls.mark(), threading.Barrier(workers)
        functions = [cold(plane, Quotas()) for _ in events]

        def handle(
            number: int,
            start: threading.Barrier = start,
            functions: list[Failover] = functions,
            events: list[StateChanged] = events,
        ) -> tuple[FailoverOutcome, ...]:
            start.wait()
            return functions[number].react(events[number])

        with ThreadPoolExecutor(workers) as pool:
            outcomes = [one for (one,) in pool.map(handle, range(workers))]

        moved = Counter((m.route.table, m.route.destination) for one in outcomes for m in one.moved)
        assert len(moved) == on_card
        assert set(moved.values()) == {1}
        assert mutations(plane, mark) == ["ec2:ReplaceRoute"] * on_card
        assert sorted(one.answer is ClaimAnswer.CLAIMED for one in outcomes) == [False, False, True]


@pytest.mark.parametrize("nodes", [NODES, NODES[:3]], ids=len)
def test_a_steady_state_makes_no_mutating_call_in_a_hundred_runs(nodes: tuple[str, ...]) -> None:
    plane = Plane(nodes, quota=10)
    plane.settle()
    mark, writes, alarms = plane.region.calls.mark(), plane.store.writes, plane.alarms.calls

    for _ in range(100):
        plane.clock.go_on(seconds=5)  # within the agents' silence
        outcome = plane.reconcile()
        assert (outcome.applied, outcome.failed) == ([], [])

    assert mutations(plane, mark) == []
    assert (plane.store.writes, plane.alarms.calls) == (writes, alarms)


def reads(plane: Plane, since: int) -> list[str]:
    made = plane.region.calls.made(caller=US, since=since)
    return [call.action for call in made if ":Describe" in call.action]


@pytest.mark.parametrize("count", [2, 40])
def test_reading_costs_at_most_six_describe_calls_whatever_the_number_of_nodes(count: int) -> None:
    """The five of EC2, cold; the sixth is DescribeAlarms, one for all."""
    plane = Plane(tuple(f"{letter}{number}" for letter in "ab" for number in range(1, count // 2 + 1)))
    mark = plane.region.calls.mark()

    plane.reconcile()
    unknown = reads(plane, mark)
    mark = plane.region.calls.mark()
    plane.reconcile()
    known = reads(plane, mark)

    assert len(unknown) == 5
    assert len(known) == 4, "instance types are known by then"


def test_a_run_with_nothing_to_do_makes_six_describe_calls_and_writes_the_lease_alone(dynamodb: Any) -> None:
    """Everything through the adapters: EC2's and CloudWatch's reads of two idle runs, and DynamoDB's calls.

    DescribeTable (the store's TableId) is asked in each run: a table may be restored while the process lives.
    """
    plane = Plane(NODES, quota=TIGHT, dynamodb=dynamodb)
    ours, cloudwatch = another(dynamodb), another(dynamodb, "cloudwatch")
    reconcile = Reconcile(
        cloud=Ec2Cloud(plane.region.client(US), cluster="demo", quota=RouteQuota(fixed=TIGHT)),  # type: ignore[arg-type]  # a model
        store=DynamoStore(ours, table="podway", cluster="demo"),
        hints=plane.hints,
        hooks=plane.hooks,
        alarms=NodeAlarms(cloudwatch, names=AlarmNames("demo")),
        clock=plane.clock,
        rules=Rules("demo", (POD_CIDR,), 26, QUARANTINE, HOLD_DOWN, LEASE, stack="stack"),
    )
    for number in range(6):
        plane.agents_acknowledge()
        plane.clock.go_on(seconds=1)
        reconcile.run(f"before {number}")
    made: list[str] = []
    for client in (ours, cloudwatch):
        client.meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))
    mark, idle = plane.region.calls.mark(), 2

    outcomes = [reconcile.run(f"idle {number}") for number in range(idle)]

    told = Counter(made)
    assert [(one.busy, one.applied, one.failed, one.joined) for one in outcomes] == [(False, [], [], [])] * 2
    assert cloudwatch.describe_alarms()["MetricAlarms"], "alarms stand on those that relay"
    assert mutations(plane, mark) == []
    assert len(reads(plane, mark)) + told["DescribeAlarms"] + told["DescribeTable"] <= 6 * idle
    assert told["DescribeTable"] == idle
    assert told.keys() == {"DescribeAlarms", "DescribeTable", "Query", "GetItem", "UpdateItem"}
    assert told["UpdateItem"] == 2 * idle, "the lease is taken and released"
    assert plane.hints.reasons == []


def test_a_node_is_ready_within_two_polls_and_two_runs_of_the_one_that_allots() -> None:
    plane = settled()
    plane.launch("b9")
    plane.reconcile()  # `running` hints it: the node gets its block

    for _ in range(2):
        plane.agents_acknowledge()
        plane.reconcile()

    (member,) = (one for one in plane.members() if one.id == plane.ids["b9"])
    assert member.blocks
    assert all(block.ready for block in member.blocks)
