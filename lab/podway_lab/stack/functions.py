"""Lambda's side of the lab: queues the events of a function, runs them in free environments, and tries again.

Delivery has a `FunctionHost` per function. It retries asynchronous events, keeps failures, and records
every run. An environment has one event at a time; `Hosting` decides what it is: this process, or the real
runtime under its emulator.
"""

from __future__ import annotations

import heapq
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from podway_lab.stack.template import FunctionSpec

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of a handler. ``error`` is empty if it returned; ``printed`` is its log."""

    function: str
    event_id: str
    attempt: int
    started: datetime
    ended: datetime
    error: str = ""
    result: Any = None
    event: Payload = field(default_factory=dict, repr=False)
    printed: str = field(default="", repr=False)
    caller: str = ""
    """The name of its calls in the region's call log; nobody else has it while it runs."""


class InvocationLog:
    """What ran, oldest first; the newest part only if there was much."""

    def __init__(self, limit: int = 20_000) -> None:
        self.count = 0
        """How many have run in all."""
        self._entries: deque[Invocation] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def add(self, entry: Invocation) -> None:
        with self._lock:
            self.count += 1
            self._entries.append(entry)

    def entries(self, function: str = "") -> tuple[Invocation, ...]:
        """All invocations, or those of one function."""
        with self._lock:
            return tuple(one for one in self._entries if function in ("", one.function))


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one event: why it failed (empty if it did not), what was returned and printed."""

    error: str
    result: Any
    printed: str


class Environment(Protocol):
    """What runs a function's handler, one event at a time."""

    @property
    def caller(self) -> str:
        """The name of the handler's calls in the region's call log."""
        ...

    def start(self) -> None:
        """Do what can be done before the first event."""

    def stop(self) -> None:
        """End it; the next event starts it anew."""

    def run(self, event: Payload) -> Ran:
        """Run the handler on *event*; never raises for what a handler does."""
        ...


class Hosting(Protocol):
    """Where a stack's functions run."""

    def enter(self) -> None:
        """Called before any environment is started."""

    def leave(self) -> None:
        """Called after all have been stopped, or when one could not be started."""

    def environments(self, spec: FunctionSpec) -> Sequence[Environment]:
        """The environments of a function: as many as may run it at once."""
        ...

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """Give other values to variables of all functions; those that start anew have them."""


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    event: Payload = field(compare=False)
    attempt: int = field(compare=False, default=1)
    done: Callable[[Invocation], None] | None = field(compare=False, default=None)


class FunctionHost:
    """One function: its environments, the events that wait for it, and the threads that run them.

    As many events run at once as there are environments; the one that was used last is used first.
    """

    def __init__(
        self,
        spec: FunctionSpec,
        environments: Sequence[Environment],
        log: InvocationLog,
        *,
        retry_after: tuple[float, ...],
        give_up: Callable[[Payload, Invocation], None],
    ) -> None:
        self.spec = spec
        self._environments = tuple(environments)
        self._free = list(reversed(self._environments))
        self._log = log
        self._retry_after = retry_after
        self._give_up = give_up
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"function {spec.name} {number}", daemon=True)
            for number in range(len(self._environments))
        ]

    def start(self) -> None:
        """Start the environments and their threads. Raises what an environment's `start` raises."""
        for environment in self._environments:
            environment.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the present invocations; what still waits is forgotten."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for environment in self._environments:
            environment.stop()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits, retries included."""
        with self._wake:
            return len(self._free) == len(self._environments) and not self._jobs

    @property
    def callers(self) -> tuple[str, ...]:
        """The names of its environments' calls."""
        return tuple(environment.caller for environment in self._environments)

    def forget(self) -> None:
        """End every environment that is free: the next events start cold."""
        with self._wake:
            for environment in self._free:
                environment.stop()

    def invoke_later(self, event: Payload, *, delay: float = 0, attempt: int = 1) -> None:
        """Run *event* once *delay* seconds have passed, and again after an error as often as Lambda would."""
        self._add(_Job(time.monotonic() + delay, next(self._numbers), event, attempt))

    def invoke(self, event: Payload) -> Invocation:
        """Run *event* when its turn comes, and wait for it. The caller retries."""
        finished = threading.Event()
        outcome: list[Invocation] = []

        def done(invocation: Invocation) -> None:
            outcome.append(invocation)
            finished.set()

        self._add(_Job(time.monotonic(), next(self._numbers), event, done=done))
        while not finished.wait(timeout=1):
            if not any(thread.is_alive() for thread in self._threads):
                raise RuntimeError(f"{self.spec.name} has been stopped")
        return outcome[0]

    def _add(self, job: _Job) -> None:
        with self._wake:
            heapq.heappush(self._jobs, job)
            self._wake.notify_all()

    def _work(self) -> None:
        while taken := self._next():
            job, environment = taken
            invocation = self._run(job, environment)
            self._log.add(invocation)
            if invocation.error and not job.done:
                self._again(job, invocation)
            with self._wake:
                self._free.append(environment)  # before its caller hears: the next event finds it warm
            if job.done:
                job.done(invocation)

    def _next(self) -> tuple[_Job, Environment] | None:
        with self._wake:
            while not self._stopping:
                wait = self._jobs[0].due - time.monotonic() if self._jobs else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._jobs), self._free.pop()
                self._wake.wait(wait)
            return None

    def _again(self, job: _Job, invocation: Invocation) -> None:
        if job.attempt > self.spec.retries:
            self._give_up(job.event, invocation)
            return
        delay = self._retry_after[min(job.attempt, len(self._retry_after)) - 1]
        self.invoke_later(job.event, delay=delay, attempt=job.attempt + 1)

    def _run(self, job: _Job, environment: Environment) -> Invocation:
        started = datetime.now(UTC)
        ran = environment.run(json.loads(json.dumps(job.event)))
        return Invocation(
            function=self.spec.name,
            event_id=event_id_of(job.event),
            attempt=job.attempt,
            started=started,
            ended=datetime.now(UTC),
            error=ran.error,
            result=ran.result,
            event=job.event,
            printed=ran.printed,
            caller=environment.caller,
        )


def event_id_of(event: Mapping[str, Any]) -> str:
    """An event's own id, or that of the first record of a batch."""
    records = event.get("Records")
    first: Mapping[str, Any] = records[0] if records else event
    return str(first.get("id") or first.get("eventID") or first.get("messageId") or "")
