"""Functions at work at the same time, deterministically: threads of which one runs at a time.

A task hands over whenever it waits for a call; the scheduler decides by the simulated clock who goes on.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")
START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Crashed(BaseException):
    """The function was killed here: nothing of it runs any more, not even its clean-up."""


@dataclass
class Invocation:
    """One run of a function, with all its parallel calls; *dies_after* so many pauses."""

    name: str
    dies_after: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    """What the checker knows about what this run has seen."""
    pauses: int = 0
    dead: bool = False

    def age(self) -> None:
        """Another point at which it may die."""
        self.pauses += 1
        if self.dies_after is not None and self.pauses > self.dies_after:
            self.dead = True


class Task:
    """One thread of an invocation."""

    def __init__(self, scheduler: Scheduler, invocation: Invocation, work: Callable[[], None]) -> None:
        self._scheduler, self.invocation, self._work = scheduler, invocation, work
        self._go = threading.Semaphore(0)
        self._waiting_for: list[Task] = []
        self.over = False
        threading.Thread(target=self._run, name=invocation.name, daemon=True).start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.invocation.dead:
                self._work()
        except Crashed:
            pass
        finally:
            self.over = True
            for waiting in self._waiting_for:
                self._scheduler.after(0, waiting.resume)
            self._scheduler.hand_back()

    def resume(self) -> None:
        """Called by the scheduler: let the thread go on until it pauses or ends."""
        if self.over:
            return
        self._scheduler.current = self
        self._go.release()
        self._scheduler.wait()
        self._scheduler.current = None

    def pause(self, seconds: float) -> None:
        """Called in the thread: let that time pass. Raises Crashed if the function dies meanwhile."""
        self.invocation.age()
        self._scheduler.after(seconds, self.resume)
        self._yield()

    def wait_for(self, other: Task) -> None:
        """Called in the thread: go on when *other* is over."""
        if not other.over:
            other._waiting_for.append(self)
            self._yield()

    def _yield(self) -> None:
        self._scheduler.hand_back()
        self._go.acquire()
        if self.invocation.dead:
            raise Crashed


class Scheduler:
    """The simulated clock and everything that is to come."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.moment = START
        self.current: Task | None = None
        self._coming: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = 0
        self._back = threading.Semaphore(0)
        self._tasks: list[Task] = []

    def now(self) -> datetime:
        """The Clock port."""
        return self.moment

    def sleep(self, seconds: float) -> None:
        """The Clock port: called by a function that waits."""
        assert self.current is not None
        self.current.pause(seconds)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Have *what* happen then."""
        self._count += 1
        heapq.heappush(self._coming, (self.moment + timedelta(seconds=seconds), self._count, what))

    def run(self, *, until: datetime) -> None:
        """Let everything happen that is due by then."""
        while self._coming and self._coming[0][0] <= until:
            self.moment, _, what = heapq.heappop(self._coming)
            what()
        self.moment = until

    def begin(self, invocation: Invocation, work: Callable[[], None]) -> Task:
        """A new task, on its way at once."""
        task = Task(self, invocation, work)
        self._tasks = [one for one in self._tasks if not one.over]
        self._tasks.append(task)
        self.after(0, task.resume)
        return task

    def end(self) -> None:
        """Kill whatever still runs."""
        for task in self._tasks:
            task.invocation.dead = True
        while any(not task.over for task in self._tasks):
            for task in self._tasks:
                task.resume()

    def hand_back(self) -> None:
        self._back.release()

    def wait(self) -> None:
        self._back.acquire()


@dataclass(frozen=True)
class Ahead:
    """The Clock port of a machine whose clock is *ahead*."""

    scheduler: Scheduler
    ahead: timedelta

    def now(self) -> datetime:
        return self.scheduler.now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.scheduler.sleep(seconds)


class SideBySide:
    """The Parallel port: calls of one invocation, each a task of its own."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def start(self, call: Callable[[], T]) -> Future[T]:
        caller = self._scheduler.current
        assert caller is not None, "only functions call"
        future: Awaited[T] = Awaited()

        def work() -> None:
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  (it is raised where the result is asked for)
                future.set_exception(error)

        future.scheduler = self._scheduler
        future.task = self._scheduler.begin(caller.invocation, work)
        return future


class Awaited(Future[T]):
    """A result that simulated time brings."""

    scheduler: Scheduler
    task: Task

    def result(self, timeout: float | None = None) -> T:
        waiting = self.scheduler.current
        if waiting is not None:
            waiting.wait_for(self.task)
        return super().result(timeout=0)
