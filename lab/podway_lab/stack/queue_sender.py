"""Sends events to queues, late if told so, and tries again while the region does not answer.

Delivery has one for the rules' queue targets and for the failure queues.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

_RETRY_SECONDS = 0.5
"""Before a message that was not taken is sent again."""

_Waiting = tuple[float, int, dict[str, str]]
"""When to send it, its number in order, and the message."""


class QueueSender:
    """A thread that sends messages; `send` does not wait for it."""

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
        """End the thread; what still waits is forgotten."""
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
        """Send *body* to the queue at *url* once *delay* seconds have passed."""
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
                    waiting = (time.monotonic() + _RETRY_SECONDS, next(self._numbers), message)
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
