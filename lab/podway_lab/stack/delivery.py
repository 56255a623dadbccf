"""EventBridge, Lambda and its pollers for the lab: sends events where the template's own rules say.

The lab makes one; the pump calls ``put`` with each event, which never waits for a handler. Delivery is at
least once. On request events are doubled, late, out of order or lost, the same ones for the same seed.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from podway_lab.region.events import Stamps, scheduled
from podway_lab.stack.deploy import Stack, client
from podway_lab.stack.functions import FunctionHost, Hosting, Invocation, InvocationLog, Payload
from podway_lab.stack.patterns import Pattern
from podway_lab.stack.pollers import Poller, QueuePoller, StreamPoller
from podway_lab.stack.queue_sender import QueueSender
from podway_lab.stack.template import FunctionSpec, Rule, RuleTarget, SourceMapping


@dataclass(frozen=True, slots=True)
class DeliveryFaults:
    """Faults of the bus: what it does to events beyond delivering them. Chances are per event and target."""

    seed: int = 0
    duplicate: float = 0.0
    lose: float = 0.0
    delay: float = 0.0
    """Chance of being late, and so of being overtaken."""
    longest_delay: float = 2.0
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the lab waits for what, in seconds. AWS's own figures are named where they differ."""

    tick: float | None = None
    """Between two ticks of a schedule; None keeps the template's."""
    queue: float = 0.1
    """Between two polls of an empty queue."""
    stream: float = 0.25
    """Between two polls of a quiet stream (as Lambda: four a second)."""
    retry: tuple[float, ...] = (1.0, 2.0)
    """Before each repetition of a failed event (Lambda: one minute, then two)."""


class Delivery:
    """Runs an installed stack while its context is open, and takes its events."""

    def __init__(
        self,
        stack: Stack,
        *,
        hosting: Hosting,
        faults: DeliveryFaults | None = None,
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.log = InvocationLog()
        self.fired: Counter[str] = Counter()
        """How often each kind of fault happened."""
        self.dead: list[tuple[Payload, Invocation]] = []
        """Events that failed for good, each with its last run; the failure queue has them too."""
        self.stack = stack
        self._hosting = hosting
        self._pace = pace or Pace()
        self._faults = faults or DeliveryFaults()
        self._chance = random.Random(self._faults.seed)  # noqa: S311  (repeatable, not secret)
        self._stamps = Stamps(clock, stack.place.account, stack.place.region, seed="schedule")
        self._urls = stack.queues()
        self._sender = QueueSender(client(stack, "sqs"))
        rules = stack.rules()
        self._functions = {name: self._host(spec) for name, spec in stack.functions().items()}
        self._rules = [(rule, Pattern(rule.pattern)) for rule in rules if rule.pattern]
        self._pollers = [self._poller(mapping) for mapping in stack.source_mappings()]
        self._clocks = [_Clock(rule, self._every(rule), self._tick) for rule in rules if rule.every]
        self._lock = threading.Lock()

    # ---- life ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        self._hosting.enter()
        for function in self._functions.values():
            function.start()
        self._sender.start()
        for poller in self._pollers:
            poller.start()
        for clock in self._clocks:
            clock.start()

    def _end(self) -> None:
        for clock in self._clocks:
            clock.stop()
        for poller in self._pollers:
            poller.stop()
        self._sender.stop()
        for poller in self._pollers:
            poller.join()
        for function in self._functions.values():
            function.stop()
        self._hosting.leave()

    # ---- events --------------------------------------------------------------------------------------

    def put(self, event: Mapping[str, Any]) -> int:
        """Send *event* to the targets of every rule that matches it; returns how many those are."""
        known: Payload = json.loads(json.dumps(event))
        targets = [
            target for rule, pattern in self._rules if pattern.matches(known) for target in rule.targets
        ]
        for target in targets:
            self._send(known, target)
        return len(targets)

    def invocations(self, function: str = "") -> tuple[Invocation, ...]:
        """What ran, oldest first: of all functions, or of one by its name in the template."""
        return self.log.entries(function)

    def invoke(self, function: str, event: Payload) -> Invocation:
        """Run one function on *event*, past all rules, and wait for it."""
        return self._functions[function].invoke(event)

    def is_idle(self, function: str) -> bool:
        """Whether no event of *function* waits or is being handled."""
        return self._functions[function].idle

    def callers(self) -> dict[str, str]:
        """The name of each environment's calls in the region's call log, with its function."""
        return {caller: name for name, function in self._functions.items() for caller in function.callers}

    def update(self, variables: Mapping[str, str], stream: str) -> None:
        """Give the functions other variables and another table's *stream*, as an update of the stack would.

        A run that is on its way ends with what it had.
        """
        self._hosting.set_variables(variables)
        for poller in self._pollers:
            if isinstance(poller, StreamPoller):
                poller.follow(stream)
        for function in self._functions.values():
            function.forget()

    def chill(self, function: str) -> None:
        """End the idle environments of *function*: its next events start cold."""
        self._functions[function].forget()

    def tick(self) -> None:
        """One tick of every schedule, now."""
        for clock in self._clocks:
            self._tick(clock.rule)

    def _send(self, event: Payload, target: RuleTarget) -> None:
        if self._happens("lose", self._faults.lose):
            return
        copies = 2 if self._happens("duplicate", self._faults.duplicate) else 1
        for _ in range(copies):
            late = self._happens("delay", self._faults.delay)
            self._deliver(event, target, self._chance.uniform(0, self._faults.longest_delay) if late else 0)

    def _happens(self, kind: str, chance: float) -> bool:
        with self._lock:
            happens = chance > 0 and self._chance.random() < chance
            self.fired[kind] += happens
            return happens

    def _deliver(self, event: Payload, target: RuleTarget, delay: float) -> None:
        if target.function:
            self._functions[target.function].invoke_later(event, delay=delay)
            return
        body = target.input or json.dumps(event)
        self._sender.send(url=self._urls[target.arn], body=body, group=target.group, delay=delay)

    def _tick(self, rule: Rule) -> None:
        event = scheduled(self._stamps.next(), rule.name)
        for target in rule.targets:
            self._send(event, target)

    def _every(self, rule: Rule) -> float:
        return rule.every if self._pace.tick is None else self._pace.tick

    def _bury(self, queue: str, event: Payload, last: Invocation) -> None:
        """Keep what failed for good, in the shape of Lambda's destination records."""
        self.dead.append((event, last))
        if not queue:
            return
        record = {
            "version": "1.0",
            "timestamp": last.ended.isoformat(),
            "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": last.attempt},
            "requestPayload": event,
            "responsePayload": {"errorMessage": last.error},
        }
        self._sender.send(url=self._urls[queue], body=json.dumps(record))

    # ---- quiet ---------------------------------------------------------------------------------------

    def settle(self, timeout: float = 30) -> bool:
        """Wait until no event runs, waits or lies unread; False if *timeout* seconds were not enough."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            before = self._progress()
            if self._quiet() and self._all_asked_again(end) and self._quiet():
                if self._progress() == before:
                    return True
            else:
                time.sleep(0.02)
        return False

    def _progress(self) -> int:
        return self.log.count

    def _quiet(self) -> bool:
        working = any(poller.busy for poller in self._pollers)
        idle = self._sender.idle and all(one.idle for one in self._functions.values())
        return idle and not working

    def _all_asked_again(self, end: float) -> bool:
        """Wait until every poller has polled twice more: the first may have begun before the last write."""
        wanted = [(poller, poller.rounds + 2) for poller in self._pollers]
        while any(poller.rounds < rounds for poller, rounds in wanted):
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    # ---- parts ---------------------------------------------------------------------------------------

    def _host(self, spec: FunctionSpec) -> FunctionHost:
        def give_up(event: Payload, last: Invocation) -> None:
            self._bury(spec.on_failure, event, last)

        return FunctionHost(
            spec,
            self._hosting.environments(spec),
            self.log,
            retry_after=self._pace.retry,
            give_up=give_up,
        )

    def _poller(self, mapping: SourceMapping) -> Poller:
        function = self._functions[mapping.function]
        if stream := self.stack.stream_of(mapping.source):
            return StreamPoller(
                mapping,
                function,
                self.stack.place,
                streams=client(self.stack, "dynamodbstreams"),
                stream=stream,
                pause=self._pace.stream,
                retry_after=self._pace.retry,
                give_up=self._bury,
            )
        arn = self.stack.arn_of(mapping.source)
        return QueuePoller(
            mapping,
            function,
            sqs=client(self.stack, "sqs"),
            url=self._urls[arn],
            arn=arn,
            pause=self._pace.queue,
        )


class _Clock:
    """Ticks for a scheduled rule."""

    def __init__(self, rule: Rule, every: float, tick: Callable[[Rule], None]) -> None:
        self.rule = rule
        self._every = every
        self._tick = tick
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"schedule {rule.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.wait(self._every):
            self._tick(self.rule)
