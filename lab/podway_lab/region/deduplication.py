"""Lets a FIFO queue take no message twice within five minutes, whatever became of the first one.

The server asks it before each SendMessage. moto forgets a deduplication id with its message; SQS does not
("Using the message deduplication ID in Amazon SQS"). So a hint with a constant body would be lost on AWS
and pass here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from podway_lab.region.wire import Reply, error_code

REMEMBERED = timedelta(minutes=5)


class Deduplication:
    """The messages that FIFO queues were sent lately, each with the answer that its sender got."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[datetime, Reply]] = {}
        self._lock = threading.Lock()

    def once(self, action: str, given: Mapping[str, Any], send: Callable[[], Reply]) -> Reply:
        """The answer of *send*; for a message that a FIFO queue has had already, the first answer."""
        queue = str(given.get("QueueUrl", ""))
        if action != "sqs:SendMessage" or not queue.endswith(".fifo"):
            return send()
        digest = hashlib.sha256(str(given.get("MessageBody", "")).encode()).hexdigest()
        message = queue, str(given.get("MessageDeduplicationId") or digest)
        with self._lock:
            self._forget_old()
            if message in self._told:
                return self._told[message][1]
            reply = send()
            if not error_code(reply):
                self._told[message] = self._clock(), reply
            return reply

    def _forget_old(self) -> None:
        oldest = self._clock() - REMEMBERED
        self._told = {message: told for message, told in self._told.items() if told[0] > oldest}
