"""Stand-ins for the world around the use cases: in memory, strict, and failing on demand."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from podway.app.errors import (
    NeedsOperator,
    PodwayError,
    QuotaReached,
    RouteIsGone,
    RouteIsThere,
    TableIsGone,
    TargetIsGone,
)
from podway.domain.addressing import Prefix
from podway.domain.health.alarms import alarm_name
from podway.domain.health.reassess import AlarmSeen, AlarmsSeen
from podway.domain.inventory import FoundById, Instance, Member, NotListed, Survey, VpcSubnet
from podway.domain.model import Create, Delete, Route, RouteOrigin, RouteState, RouteTable, Step
from podway.domain.signals import AlarmValue, InstanceState, LifecycleHook

T = TypeVar("T")
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    """Stands still until it is told to go on."""

    moment: datetime = START

    def now(self) -> datetime:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.go_on(seconds=seconds)

    def go_on(self, **time: float) -> None:
        self.moment += timedelta(**time)


@dataclass
class FakeHints:
    reasons: list[str] = field(default_factory=list)

    def hint(self, reason: str) -> None:
        self.reasons.append(reason)


@dataclass
class FakeHooks:
    completed: list[LifecycleHook] = field(default_factory=list)
    extended: list[LifecycleHook] = field(default_factory=list)

    def complete(self, hook: LifecycleHook) -> None:
        self.completed.append(hook)

    def extend(self, hook: LifecycleHook) -> None:
        self.extended.append(hook)


@dataclass
class FakeAlarms:
    """The Alarms port; *calls* counts what changed something, *asked* which names were asked for."""

    now: Callable[[], datetime]
    cluster: str = "demo"
    standing: dict[str, AlarmSeen] = field(default_factory=dict)
    others: dict[str, AlarmSeen] = field(default_factory=dict)
    """Alarms that are not ours and count, by name."""
    unlisted: set[str] = field(default_factory=set)
    """Names that lists leave out; they are there for who asks by name."""
    asked: list[str] = field(default_factory=list)
    calls: int = 0
    trouble: PodwayError | None = None
    refused: dict[str, PodwayError] = field(default_factory=dict)
    """Instances for which no alarm can be made."""

    def seen(self, asked: Collection[str] = ()) -> AlarmsSeen:
        if self.trouble is not None:
            raise self.trouble
        there = {one.name for one in (*self.standing.values(), *self.others.values())}
        self.asked += sorted(asked)
        shown = (there - self.unlisted) | set(asked)
        return AlarmsSeen(
            {node: one for node, one in self.standing.items() if one.name in shown},
            {name: one for name, one in self.others.items() if name in shown},
            frozenset(asked) - there,
        )

    def watch(self, instance: str) -> None:
        self.calls += 1
        if instance in self.refused:
            raise self.refused[instance]
        self.turn(instance, AlarmValue.INSUFFICIENT_DATA)

    def forget(self, instances: Collection[str]) -> None:
        self.calls += bool(instances)
        for one in instances:
            self.standing.pop(one, None)

    def turn(self, instance: str, value: AlarmValue) -> AlarmSeen:
        """The alarm changes its state."""
        name = alarm_name(self.cluster, instance)
        self.standing[instance] = AlarmSeen(name, value, self.now(), (instance,))
        return self.standing[instance]

    def turn_other(self, name: str, value: AlarmValue, *instances: str) -> None:
        """An alarm of the operator's, or of the fleet, is made or changes its state."""
        self.others[name] = AlarmSeen(name, value, self.now(), instances)


class Immediate:
    """The Parallel port without threads: a call is over before anybody asks for it."""

    def start(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(call())
        except Exception as error:  # noqa: BLE001  (it is raised where the result is asked for)
            future.set_exception(error)
        return future


@dataclass
class FakeCloud:
    """The Cloud port; keeps the contract that ``tests/contract/test_cloud.py`` states.

    *fail_after* maps a number of writes to the error that the next one meets; what has fired is gone.
    *before_write* is called before each write: a place for whatever happens in between.
    """

    surveyed: Survey
    fail_after: dict[int, PodwayError] = field(default_factory=dict)
    before_write: Callable[[str, Step], None] | None = None
    writes: list[tuple[str, Step]] = field(default_factory=list)
    checks_cleared: list[str] = field(default_factory=list)
    hidden: set[str] = field(default_factory=set)
    """Instances that lists leave out, and say nothing of it; by id they are found."""
    mute: set[str] = field(default_factory=set)
    """Instances that EC2 does not show by id either, and does not call unknown."""
    forgotten: set[str] = field(default_factory=set)
    """Instances of which EC2 says NotFound."""
    refusing: dict[str, PodwayError] = field(default_factory=dict)
    """Tables that refuse every write."""
    gone_interfaces: set[str] = field(default_factory=set)
    """Interfaces of which EC2 says NotFound; of others that nobody has it says nothing."""
    hidden_tables: set[str] = field(default_factory=set)
    """Tables that lists leave out; by id they are found."""
    mute_tables: set[str] = field(default_factory=set)
    """Hidden tables that EC2 does not show by id either, and does not call unknown."""
    no_second_look: PodwayError | None = None
    """What a look at tables by id raises."""
    hidden_subnets: set[str] = field(default_factory=set)
    """Subnets that lists leave out; by id they are found."""
    is_disrupted: bool = False
    """Lists fail, and ids are answered."""

    def survey(self, homes: Collection[str] = ()) -> Survey:
        del homes
        unlisted = self.hidden | self.mute | self.forgotten
        listed = tuple(one for one in self.surveyed.instances if one.tagged and one.id not in unlisted)
        shown = self.route_tables()
        subnets = tuple(one for one in self.surveyed.subnets if one.id not in self.hidden_subnets)
        survey = replace(self.surveyed, route_tables=shown, subnets=subnets, instances=listed)
        return replace(survey, instances=(), is_listed=False) if self.is_disrupted else survey

    def find(self, members: Iterable[Member], subnets: Iterable[VpcSubnet]) -> FoundById:
        del subnets
        known = {one.id: one for one in self.surveyed.instances if one.id not in self.forgotten}
        asked = sorted(member.id for member in members)
        return FoundById(
            tuple(known[node] for node in asked if node in known and node not in self.mute),
            frozenset(asked) - known.keys(),
        )

    def find_subnets(self, subnets: Collection[str], vpc: str) -> NotListed:
        del vpc
        return NotListed(tuple(sorted({one.id for one in self.surveyed.subnets} & set(subnets))))

    def find_tables(self, tables: Collection[str], vpc: str) -> NotListed:
        del vpc
        return NotListed(tuple(sorted({one.id for one in self.surveyed.route_tables} & set(tables))))

    def route_tables(self) -> tuple[RouteTable, ...]:
        """All but the hidden ones."""
        return tuple(one for one in self._tables() if one.id not in self.hidden_tables)

    def look_again(self, tables: Collection[str]) -> tuple[RouteTable, ...]:
        if self.no_second_look is not None:
            raise self.no_second_look
        there = {one.id: one for one in self._tables()}
        asked = sorted(set(tables) - self.mute_tables)
        return tuple(there.get(one, RouteTable(one, (), (), 0)) for one in asked)

    def _tables(self) -> tuple[RouteTable, ...]:
        return tuple(self._shown(table) for table in self.surveyed.route_tables)

    def member(self, instance: str) -> Instance | None:
        found = (one for one in self.surveyed.instances if one.id == instance and one.tagged)
        return next((one for one in found if one.state is not InstanceState.TERMINATED), None)

    def apply(self, table: str, step: Step) -> None:
        if self.before_write is not None:
            self.before_write(table, step)
        self._fail_if_due()
        if table in self.refusing:
            raise self.refusing[table]
        before = self._find(table)
        if before is None:
            if isinstance(step, Delete):
                return
            raise TableIsGone(table)
        self._put(self._written(before, step))
        self.writes.append((table, step))

    def mark_tables(self, tables: Collection[str], stack: str) -> None:
        self._fail_if_due()
        marks = {**self.surveyed.marks, **dict.fromkeys(tables, stack)}
        self.surveyed = replace(self.surveyed, marks=marks)

    def unmark_tables(self, tables: Collection[str], stack: str) -> None:
        kept = {
            table: whose
            for table, whose in self.surveyed.marks.items()
            if table not in tables or whose != stack
        }
        self.surveyed = replace(self.surveyed, marks=kept)

    def is_interface_gone(self, network_interface: str) -> bool:
        return network_interface in self.gone_interfaces

    def clear_source_dest_check(self, network_interface: str) -> None:
        self._fail_if_due()
        self.checks_cleared.append(network_interface)
        self.change_instances(
            lambda one: (
                replace(one, source_dest_check=False) if one.network_interface == network_interface else one
            )
        )

    # what happens to the world

    def change_instances(self, change: Callable[[Instance], Instance]) -> None:
        instances = tuple(change(one) for one in self.surveyed.instances)
        self.surveyed = replace(self.surveyed, instances=instances)

    def enter(self, instance: str, state: InstanceState) -> None:
        self.change_instances(lambda one: replace(one, state=state) if one.id == instance else one)

    def add(self, instance: Instance) -> None:
        self.surveyed = replace(self.surveyed, instances=(*self.surveyed.instances, instance))

    def edit(self, table: str, change: Callable[[RouteTable], RouteTable]) -> None:
        """Somebody edits a table by hand."""
        found = self._find(table)
        assert found is not None
        self._put(change(found))

    def table(self, identity: str) -> dict[Prefix, str]:
        """Destination and target of the routes in a table, but the VPC's own."""
        found = self._find(identity)
        assert found is not None
        return {
            route.destination: route.target
            for route in found.routes
            if isinstance(route.destination, Prefix) and route.target != "local"
        }

    def _fail_if_due(self) -> None:
        due = self.fail_after.pop(len(self.writes) + len(self.checks_cleared), None)
        if due is not None:
            raise due

    def _find(self, identity: str) -> RouteTable | None:
        return next((one for one in self.surveyed.route_tables if one.id == identity), None)

    def _put(self, table: RouteTable) -> None:
        tables = tuple(table if one.id == table.id else one for one in self.surveyed.route_tables)
        self.surveyed = replace(self.surveyed, route_tables=tables)

    def _alive(self) -> set[str]:
        return {
            one.network_interface
            for one in self.surveyed.instances
            if one.state is not InstanceState.TERMINATED
        }

    def _shown(self, table: RouteTable) -> RouteTable:
        forwarding = {
            one.network_interface
            for one in self.surveyed.instances
            if one.state not in {InstanceState.STOPPED, InstanceState.TERMINATED}
        }
        return replace(
            table,
            routes=tuple(
                replace(
                    route,
                    state=RouteState.BLACKHOLE
                    if route.target.startswith("eni-") and route.target not in forwarding
                    else RouteState.ACTIVE,
                )
                for route in table.routes
            ),
        )

    def _written(self, table: RouteTable, step: Step) -> RouteTable:
        destination = step.destination
        present = {route.destination: route for route in table.routes}
        others = tuple(route for route in table.routes if route.destination != destination)
        if isinstance(step, Delete):
            return replace(table, routes=others)
        if step.network_interface not in self._alive():
            raise TargetIsGone(step.network_interface)
        if any(cidr.contains(destination) for cidr in self.surveyed.vpc_cidrs):
            raise NeedsOperator(f"{destination} is inside the VPC")
        if isinstance(step, Create):
            self._refuse_creation(table, destination, present)
        elif destination not in present:
            raise RouteIsGone(str(destination))
        return replace(table, routes=(*others, Route(destination, step.network_interface)))

    @staticmethod
    def _refuse_creation(table: RouteTable, destination: Prefix, present: dict[Prefix | str, Route]) -> None:
        if destination in present:
            raise RouteIsThere(str(destination))
        counted = [
            route
            for route in present.values()
            if isinstance(route.destination, Prefix)
            and route.destination.version == destination.version
            and route.origin in {RouteOrigin.CREATE_ROUTE, RouteOrigin.CREATE_ROUTE_TABLE}
        ]
        if len(counted) >= table.quota:
            raise QuotaReached(table.id)
