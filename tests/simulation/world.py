"""A cluster, its agents, the functions and the events between them, on a simulated clock."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.errors import PodwayError
from podway.app.failover import Failover
from podway.app.lifecycle import Lifecycle
from podway.app.ports import Cloud
from podway.app.reconcile import Reconcile
from podway.app.report import ReconcileOutcome
from podway.app.stores import Store
from podway.domain.addressing import Prefix
from podway.domain.health.alarms import alarm_name
from podway.domain.model import describe
from podway.domain.run.seen import Rules
from podway.domain.signals import (
    AlarmChanged,
    AlarmValue,
    InstanceState,
    LifecycleHook,
    Signal,
    StateChanged,
)
from podway_lab.region.changes import Change, InstanceStateChanged
from podway_lab.region.faults import Faults, Kind
from podway_lab.region.model import StrictEC2
from podway_lab.region.operation import Settings

from tests.fakes.store import FakeStore
from tests.simulation.agents import Agent, poll
from tests.simulation.checker import OURS, Checker
from tests.simulation.store import Calls, Noted, SimAlarms, SimClient, SimStore
from tests.simulation.tasks import START, Ahead, Invocation, Scheduler, SideBySide

POD_CIDR = Prefix.parse("100.64.0.0/16")
NODE_TAG = "podway:cluster"
ACCOUNT_TAGS = [{"Key": NODE_TAG, "Value": "sim"}]
RULES = Rules("sim", (POD_CIDR,), 26, timedelta(minutes=10), timedelta(seconds=60), timedelta(seconds=125))
STACK = "stack-1"
"""Ours, in newer stories."""
SHORT = 3
"""Rows of a page in newer stories."""
REFUSED = {
    "IncorrectState": "a table refuses with an odd code",
    "InvalidInstanceID.NotFound": "EC2 does not find a node",
    "Unavailable": "a zone is disrupted",
}
"""Codes of refusals by which a function meets a fault."""
RETRIES = (60.0, 120.0)
"""Seconds after which Lambda invokes a function again that failed on an event."""


@dataclass
class Odds:
    """How likely things go wrong; all zero while the world comes to rest."""

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    crash: float = 0.0
    second_reconcile: float = 0.0


@dataclass(frozen=True)
class Mutant:
    """A worse control plane, to see that the checker notices; as it is, the real one.

    *patches* name a module, an attribute of it, and what stands there instead.
    """

    rules: Rules = RULES
    store: Callable[[FakeStore, Calls, Noted], Store] = SimStore
    patches: tuple[tuple[str, Any], ...] = ()


@dataclass
class World:
    """*quota* is the account's; *subnets* are made with a tagged table each, but some share one."""

    rng: Random
    quota: int
    tables: tuple[int, ...]
    """For each subnet the number of its table."""
    pod_cidr: Prefix = POD_CIDR
    mutant: Mutant = field(default_factory=Mutant)
    is_new: bool = False
    """A newer story: functions know the cluster's VPC, and pages of EC2's answers are short."""
    odds: Odds = field(default_factory=Odds)
    fired: Counter[str] = field(default_factory=Counter)
    agents: dict[str, Agent] = field(default_factory=dict)
    hooks: list[LifecycleHook] = field(default_factory=list)
    hints: int = 0
    reconciling: bool = False
    outcomes: list[ReconcileOutcome] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    quiet: bool = False
    ailing: dict[tuple[str, str], bool] = field(default_factory=dict)
    """Alarms that are on: node and alarm."""
    deleted: set[str] = field(default_factory=set)
    """Alarms that somebody has deleted, by name."""
    at_work: int = 0
    """Functions that run just now."""
    newest: int = 0
    """Number of the newest signal that was handed to a function."""
    busy_until: datetime = START
    """Something that was begun lasts so long."""
    strangers: list[str] = field(default_factory=list)
    """Interfaces that belong to nobody of the cluster."""
    lives: int = 1
    """Tables that the store has had."""
    begun: int = 1
    """Of these, that for which the newest epoch was begun."""

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.rng)
        self.faults = Faults(seed=self.rng.getrandbits(32), pause=lambda _: None)
        settings = Settings(
            route_quota=self.quota,
            rows=SHORT if self.is_new else 1000,
            lifecycle={"pending": 20.0, "stopping": 15.0, "shutting-down": 15.0},
        )
        self.region = StrictEC2(
            clock=self.scheduler.now, settings=settings, faults=self.faults, throttled=True
        )
        self.calls = Calls(self.scheduler)
        self.table = self.agents_table = FakeStore()
        self.checker = Checker(
            self.region,
            self.scheduler,
            self.table,
            self.pod_cidr,
            RULES.quarantine,
            self._holds,
            lambda node: self.agents[node].held if node in self.agents else (),
        )
        self.region.subscribe(self._hear)
        self._count = itertools.count(1)
        self._settle()
        self._build()
        self.alarms = SimAlarms(self.scheduler.now, cluster="sim")
        self.deploy()

    def _holds(self, node: str) -> int:
        """The generation of the store's epoch that the node's kernel holds."""
        epoch = self.table.epoch.number if self.table.epoch else 1
        return self.agents[node].holds(epoch) if node in self.agents else 0

    def _settle(self) -> None:
        """Instances move on by themselves."""
        self.region.settle()
        self.scheduler.after(5.0, self._settle)

    # Building

    def _build(self) -> None:
        self.ec2 = self.region.client("operator")
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.checker.vpc = vpc
        self.subnet_ids = []
        made: dict[int, str] = {}
        for number, table in enumerate(self.tables):
            subnet = self.ec2.create_subnet(
                VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-west-2{'abc'[number]}"
            )["Subnet"]["SubnetId"]
            if table not in made:
                made[table] = self.ec2.create_route_table(
                    VpcId=vpc, TagSpecifications=[{"ResourceType": "route-table", "Tags": ACCOUNT_TAGS}]
                )["RouteTable"]["RouteTableId"]
            self.ec2.associate_route_table(SubnetId=subnet, RouteTableId=made[table])
            self.subnet_ids.append(subnet)
        self.table_ids = sorted(made.values())

    def deploy(self, *, node_tag: str = NODE_TAG, pod_cidr: Prefix | None = None) -> None:
        """Make the functions anew; those that run go on as they are."""
        client: Any = SimClient(self.region, OURS, self.scheduler, self.checker.saw, self.refused)
        self.cloud: Cloud = Ec2Cloud(
            client,
            cluster="sim",
            quota=RouteQuota(fixed=self.quota),
            vpc=self.checker.vpc if self.is_new else "",
            node_tag=node_tag,
        )
        stack = STACK if self.is_new else ""
        rules = replace(self.mutant.rules, pod_cidrs=(pod_cidr or self.pod_cidr,), stack=stack)
        store: Store = SimStore(self.table, self.calls, self.checker.noted)
        self.failover = self.command(timedelta(0))
        self.lifecycle = Lifecycle(
            cloud=self.cloud,
            store=store,
            failover=self.failover,
            hints=self,
            hooks=self,
            clock=self.scheduler,
        )
        self.reconcile = Reconcile(
            cloud=self.cloud,
            store=self.mutant.store(self.table, self.calls, self.checker.noted),
            hints=self,
            clock=self.scheduler,
            alarms=self.alarms,
            hooks=self,
            rules=rules,
        )

    def command(self, ahead: timedelta) -> Failover:
        """The failover use case on a machine whose clock is *ahead*: a person's, by an older command."""
        return Failover(
            cloud=self.cloud,
            store=SimStore(self.table, self.calls, self.checker.noted),
            hints=self,
            clock=Ahead(self.scheduler, ahead),
            parallel=SideBySide(self.scheduler),
            hold_down=self.mutant.rules.hold_down,
        )

    # Ports

    def hint(self, reason: str) -> None:
        """The Hints port: a message in the FIFO queue."""
        del reason
        self.hints += 1
        self.scheduler.after(self.rng.uniform(0.1, 1.5), self._poll_queue)

    def complete(self, hook: LifecycleHook) -> None:
        """The Hooks port."""
        self.hooks.append(hook)

    def extend(self, hook: LifecycleHook) -> None:
        """The Hooks port."""
        self.fired["hook extended"] += 1

    # Functions

    def invoke(self, name: str, work: Callable[[], object], retries: tuple[float, ...] = RETRIES) -> None:
        """Run a function as Lambda does: killed now and then, invoked again when it failed."""
        dies = self.rng.randrange(1, 40) if self.rng.random() < self.odds.crash else None
        run = Invocation(name, dies_after=dies)

        def again() -> None:
            if retries:
                self.scheduler.after(retries[0], lambda: self.invoke(name, work, retries[1:]))

        def body() -> None:
            self.fired["two functions at once"] += self.at_work > 0
            self.at_work += 1
            try:
                work()
            except PodwayError:
                self.fired["function failed and was invoked again"] += bool(retries)
                again()
            except Exception as error:  # noqa: BLE001  (a bug: it ends the simulation)
                self.errors.append(error)
            finally:
                self.at_work -= 1

        self.scheduler.begin(run, body)
        if dies is not None:
            self.scheduler.after(130.0, lambda: self._after_death(run, again))

    def _after_death(self, run: Invocation, again: Callable[[], None]) -> None:
        if run.dead:
            self.fired["function killed"] += 1
            again()

    def _poll_queue(self) -> None:
        if not self.hints:
            return
        if self.reconciling:
            if self.rng.random() >= self.odds.second_reconcile:
                return
            self.fired["two reconciles at once"] += 1
        self.hints = 0
        self.reconciling = True
        run = f"run {next(self._count)}"
        finished: list[bool] = []

        def work() -> None:
            deadline = self.scheduler.now() + timedelta(seconds=105)
            outcome = self.reconcile.run(run, deadline=deadline)
            self.outcomes.append(outcome)
            self._note(run, outcome)
            finished.append(True)
            self.reconciling = False
            self.scheduler.after(0.1, self._poll_queue)

        def visible_again() -> None:
            if not finished:
                self.reconciling = False
                self.hint("again")

        self.scheduler.after(125.0, visible_again)
        self.invoke(run, work, retries=())

    def _note(self, run: str, outcome: ReconcileOutcome) -> None:
        forgetful = self.faults.fired[Kind.STALE] or self.faults.fired[Kind.THINNER] or self.lives > 1
        if not forgetful:  # else a run may not know its own
            self.checker.check_drift(outcome)
        self.say(f"{run}: busy" if outcome.busy else f"{run}:", silent=outcome.busy or not outcome.applied)
        for table, step in outcome.applied:
            self.say(f"{run}: {describe(step)} in {table}")
        for table, step, error in outcome.failed:
            self.say(f"{run}: not {describe(step)} in {table}: {error!r}")
        for subnet, why in outcome.frozen.items():
            self.say(f"{run}: {subnet} is frozen: {why}")

    def _react(self, function: str, signal: Signal) -> None:
        react = self.failover.react if function == "failover" else self.lifecycle.react
        for outcome in react(signal):
            stayed = {why.name: count for why, count in outcome.stayed.items()}
            self.say(f"{function}: {_brief(signal)}: {outcome.answer.name} {stayed or ''}")
            for move in outcome.moved:
                self.say(f"{function}: {describe(move.step)} in {move.route.table}")

    # Events

    def deliver(self, signal: Signal, *functions: str) -> None:
        """Hand a signal to functions as EventBridge does: late, doubled, out of order, or not at all."""
        number = next(self._count)

        def hand_over(function: str) -> None:
            self.fired["event out of order"] += number < self.newest
            self.newest = max(self.newest, number)
            self.invoke(function, partial(self._react, function, signal))

        for function in functions:
            if self.rng.random() < self.odds.lost:
                self.fired["event lost"] += 1
                continue
            times = 1
            if self.rng.random() < self.odds.doubled:
                self.fired["event doubled"] += 1
                times = 2
            for _ in range(times):
                delay = self.rng.expovariate(1 / 1.5)
                if self.rng.random() < self.odds.late:
                    self.fired["event late"] += 1
                    delay += self.rng.uniform(20, 300)
                self.scheduler.after(delay, partial(hand_over, function))

    def refused(self, code: str) -> None:
        """EC2 refused a function's call."""
        if code in REFUSED:
            self.fired[REFUSED[code]] += 1

    def event_id(self) -> str:
        return f"event {next(self._count)}"

    def _hear(self, change: Change) -> None:
        if not isinstance(change, InstanceStateChanged):
            return
        self.say(f"{change.instance} is {change.state}")
        at = change.at.replace(microsecond=0)
        signal = StateChanged(self.event_id(), at, change.instance, InstanceState(change.state))
        if change.state == "running":
            self.deliver(signal, "lifecycle")
            self.scheduler.after(self.rng.uniform(1, 10), lambda: poll(self, change.instance))
        elif change.state != "pending":
            self.deliver(signal, "failover")

    def alarm(self, node: str, value: AlarmValue, name: str = "check") -> None:
        """CloudWatch says so of a node: ``check`` is our own alarm, where there is one.

        Any other is the operator's, one for each node. Nobody says anything of one that was deleted.
        """
        ours = alarm_name("sim", node)
        if name in ("check", ours) and node in self.alarms.standing:
            name = ours
            self.alarms.turn(node, value)
        elif name == ours or name in self.deleted:
            return
        else:
            name = name if "/" in name else f"{name}/{node}"
            self.alarms.turn_other(name, value, node)
        self.say(f"alarm {name} of {node}: {value}")
        at = self.scheduler.now().replace(microsecond=0)
        self.deliver(AlarmChanged(self.event_id(), at, name, (node,), value), "failover")

    def say(self, what: str, *, silent: bool = False) -> None:
        """A line of the story, for whoever reads what went wrong."""
        if not silent:
            self.log.append(f"{self.scheduler.now():%H:%M:%S} {what}")

    def plain(self, text: str) -> str:
        """*text* with short names for what has long ids: b2 is the second node of the second subnet."""
        names = {}
        for number, subnet in enumerate(self.subnet_ids):
            names[subnet] = f"subnet-{'abc'[number]}"
        for number, table in enumerate(self.table_ids):
            names[table] = f"table-{number}"
        for number, (interface, owner) in enumerate(self.checker.owners.items()):
            letter = names.get(owner.subnet, "x")[-1]
            names[owner.instance], names[interface] = f"{letter}{number}", f"eni-{letter}{number}"
        for long, short in names.items():
            text = text.replace(long, short)
        return text

    # The schedule

    def tick(self, every: float) -> None:
        """A hint every so often, for ever."""
        self.hint("tick")
        self.scheduler.after(every, lambda: self.tick(300.0 if self.quiet else every))

    def run_for(self, seconds: float) -> None:
        """Let time pass; raises what went wrong in it."""
        self.scheduler.run(until=self.scheduler.now() + timedelta(seconds=seconds))
        if self.errors:
            raise self.errors[0]


def _brief(signal: Signal) -> str:
    words = [type(signal).__name__, signal.event_id, f"{signal.at:%H:%M:%S}"]
    words += [
        str(getattr(signal, name))
        for name in ("instance", "instances", "state", "value", "reason")
        if hasattr(signal, name)
    ]
    return " ".join(words)
