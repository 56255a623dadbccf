"""Carries events to queues, late if told so, and keeps at it while the region is away."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_AGAIN = 0.5
"""Seconds before a message that was not taken is offered again."""

_Waiting = tuple[float, int, dict[str, str]]
"""When, in which order, and the message."""


class QueueSender:
    """A thread with messages to deliver; whoever hands it one does not wait."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="queue sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends; what still waits is forgotten."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def idle(self) -> bool:
        with self._wake:
            return not self._busy and not self._waiting

    def send(self, *, url: str, body: str, group: str = "", delay: float = 0) -> None:
        """Sends *body* to the queue at *url* once *delay* seconds have passed."""
        message = {"QueueUrl": url, "MessageBody": body} | ({"MessageGroupId": group} if group else {})
        with self._wake:
            heapq.heappush(self._waiting, (time.monotonic() + delay, next(self._numbers), message))
            self._wake.notify_all()

    def _work(self) -> None:
        while message := self._next():
            try:
                self._sqs.send_message(**message)
            except (BotoCoreError, ClientError):
                with self._wake:
                    waiting = (time.monotonic() + _AGAIN, next(self._numbers), message)
                    heapq.heappush(self._waiting, waiting)
            finally:
                with self._wake:
                    self._busy = False

    def _next(self) -> dict[str, str] | None:
        with self._wake:
            while not self._stopping:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    self._busy = True
                    return heapq.heappop(self._waiting)[2]
                self._wake.wait(wait)
            return None
