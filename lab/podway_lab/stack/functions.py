"""Runs the handlers of ``functions/`` in this process, as Lambda would.

A context for each invocation, asynchronous events retried, failures kept, everything on record.
Each function works on one event at a time, on a thread of its own. All share this process'
environment, so theirs must agree.
"""

from __future__ import annotations

import heapq
import importlib.util
import itertools
import json
import os
import threading
import time
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podway_lab.stack.output import InvocationOutput
from podway_lab.stack.template import FunctionSpec, Place

Handler = Callable[[Any, Any], Any]
Event = dict[str, Any]


_COLD_START = threading.Lock()
"""Handlers build their clients when they first run, and boto3's default session is not made to be
used by several threads at once. In Lambda each function has a process of its own."""


class ConflictingEnvironment(ValueError):
    """Two functions want different values of one variable; one process cannot give them both."""


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
    event: Event = field(default_factory=dict, repr=False)
    printed: str = field(default="", repr=False)


class InvocationLog:
    """What ran, oldest first; of a long run the newest part."""

    def __init__(self, limit: int = 20_000) -> None:
        self.count = 0
        """How many there have been in all."""
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
class LambdaContext:
    """What Lambda tells a handler of its invocation."""

    function_name: str
    memory_limit_in_mb: int
    invoked_function_arn: str
    aws_request_id: str
    deadline: float
    """On ``time.monotonic``."""
    function_version: str = "$LATEST"
    log_group_name: str = "/podway/lab"
    log_stream_name: str = "lab"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


@dataclass(order=True, slots=True)
class _Job:
    due: float
    number: int
    event: Event = field(compare=False)
    attempt: int = field(compare=False, default=1)
    done: Callable[[Invocation], None] | None = field(compare=False, default=None)


class FunctionHost:
    """One function: its handler, the events that wait for it, and the thread that runs them."""

    def __init__(
        self,
        spec: FunctionSpec,
        checkout: Path,
        place: Place,
        log: InvocationLog,
        *,
        output: InvocationOutput,
        retry_after: tuple[float, ...],
        give_up: Callable[[Event, Invocation], None],
    ) -> None:
        self.spec = spec
        self._checkout = checkout
        self._handler: Handler | None = None
        self._output = output
        self._place = place
        self._log = log
        self._retry_after = retry_after
        self._give_up = give_up
        self._jobs: list[_Job] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._busy = False
        self._stopping = False
        self._warm = False
        self._thread = threading.Thread(target=self._work, name=f"function {spec.name}", daemon=True)

    def start(self) -> None:
        """Imports the handler and begins to work. Raises whatever the import raises."""
        self._handler = load_handler(self._checkout, self.spec)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the present invocation; what still waits is forgotten."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits, retries included."""
        with self._wake:
            return not self._busy and not self._jobs

    def invoke_later(self, event: Event, *, delay: float = 0, attempt: int = 1) -> None:
        """Runs *event* once *delay* seconds have passed; again after an error, as often as Lambda would."""
        self._add(_Job(time.monotonic() + delay, next(self._numbers), event, attempt))

    def invoke(self, event: Event) -> Invocation:
        """Runs *event* when its turn comes, and waits for it. Retrying is up to the caller."""
        finished = threading.Event()
        outcome: list[Invocation] = []

        def done(invocation: Invocation) -> None:
            outcome.append(invocation)
            finished.set()

        self._add(_Job(time.monotonic(), next(self._numbers), event, done=done))
        while not finished.wait(timeout=1):
            if not self._thread.is_alive():
                raise RuntimeError(f"{self.spec.name} has been stopped")
        return outcome[0]

    def _add(self, job: _Job) -> None:
        with self._wake:
            heapq.heappush(self._jobs, job)
            self._wake.notify_all()

    def _work(self) -> None:
        while job := self._next():
            invocation = self._run(job)
            self._log.add(invocation)
            if job.done:
                job.done(invocation)
            elif invocation.error:
                self._again(job, invocation)
            with self._wake:
                self._busy = False

    def _next(self) -> _Job | None:
        with self._wake:
            while not self._stopping:
                wait = self._jobs[0].due - time.monotonic() if self._jobs else None
                if wait is not None and wait <= 0:
                    self._busy = True
                    return heapq.heappop(self._jobs)
                self._wake.wait(wait)
            return None

    def _again(self, job: _Job, invocation: Invocation) -> None:
        if job.attempt > self.spec.retries:
            self._give_up(job.event, invocation)
            return
        delay = self._retry_after[min(job.attempt, len(self._retry_after)) - 1]
        self.invoke_later(job.event, delay=delay, attempt=job.attempt + 1)

    def _run(self, job: _Job) -> Invocation:
        started, begun = datetime.now(UTC), time.monotonic()
        self._output.begin()
        error, result = self._attempt(json.loads(json.dumps(job.event)), self._context(begun))
        if not error and time.monotonic() - begun > self.spec.timeout:
            error = f"Task timed out after {self.spec.timeout} seconds"
        return Invocation(
            function=self.spec.name,
            event_id=event_id_of(job.event),
            attempt=job.attempt,
            started=started,
            ended=datetime.now(UTC),
            error=error,
            result=result,
            event=job.event,
            printed=self._output.end(),
        )

    def _attempt(self, event: Event, context: LambdaContext) -> tuple[str, Any]:
        """What went wrong, if anything, and what the handler returned."""
        assert self._handler is not None, "start() comes first"
        try:
            with nullcontext() if self._warm else _COLD_START:
                result = self._handler(event, context)
        except Exception as failure:  # noqa: BLE001  (Lambda survives whatever a handler raises)
            return "".join(traceback.format_exception_only(failure)).strip(), None
        self._warm = True
        return "", result

    def _context(self, begun: float) -> LambdaContext:
        name = f"{self._place.stack}-{self.spec.name}"
        return LambdaContext(
            function_name=name,
            memory_limit_in_mb=self.spec.memory,
            invoked_function_arn=self._place.arn("lambda", f"function:{name}"),
            aws_request_id=str(uuid.uuid4()),
            deadline=begun + self.spec.timeout,
        )


def event_id_of(event: Mapping[str, Any]) -> str:
    """An event's own id, or that of the first record of a batch."""
    records = event.get("Records")
    first: Mapping[str, Any] = records[0] if records else event
    return str(first.get("id") or first.get("eventID") or first.get("messageId") or "")


def load_handler(checkout: Path, spec: FunctionSpec) -> Handler:
    """The function's handler, imported from its file under a name of its own."""
    file, attribute = spec.handler.split(".")
    path = checkout / spec.folder / f"{file}.py"
    found = importlib.util.spec_from_file_location(f"podway_functions_{Path(spec.folder).name}", path)
    if found is None or found.loader is None:
        raise FileNotFoundError(f"{spec.name} has no code at {path}")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    handler: Handler = getattr(module, attribute)
    return handler


def shared_environment(specs: Iterable[FunctionSpec]) -> dict[str, str]:
    """The variables of all functions. Raises ConflictingEnvironment where two disagree."""
    union: dict[str, str] = {}
    for spec in specs:
        for name, value in spec.environment.items():
            if union.setdefault(name, value) != value:
                raise ConflictingEnvironment(f"{name}: {spec.name} wants {value!r}, another {union[name]!r}")
    return union


class ProcessEnvironment:
    """Variables put into this process for a time; what stood there before comes back.

    A function has no variables but its own: Podway's that stand here already, such as the operator's
    ``PODWAY_TABLE``, are put aside.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._before: dict[str, str | None] = {}

    def enter(self) -> None:
        others = {name for name in os.environ if name.startswith("PODWAY_")}
        self._before = {name: os.environ.get(name) for name in others | self._variables.keys()}
        for name in others:
            del os.environ[name]
        os.environ.update(self._variables)

    def leave(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}
