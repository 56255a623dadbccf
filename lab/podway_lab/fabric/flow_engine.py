"""Sends and counts the UDP packets of all flows: a program of its own, for undisturbed timing.

`traffic.Traffic` starts it with the number of a socket as its argument. Orders come as JSON through that
socket, with a new flow's two sockets attached; figures go back through it. It uses the standard library only,
and nothing of the lab, because it must start fast.
"""

from __future__ import annotations

import array
import contextlib
import itertools
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TICK = 0.001
"""Seconds between two rounds of sending; faster flows send several packets in a round."""

DRAIN = 0.005
"""Seconds between two rounds of receiving: the sockets' buffers hold much more."""

CATCH_UP = 0.2
"""Seconds of sending that are made up for at once; a longer lag is left out, and is no loss."""

GRACE = 0.25
"""Seconds that a packet may take before it counts as lost."""

MOST_OUTAGES = 200
"""Outages of a flow in one answer. The counts are of all."""

SEQUENCE = struct.Struct("!Q")


@dataclass(slots=True)
class _Flow:
    """One stream of numbered packets; *sent_at* and *seen* are indexed by the number."""

    sender: socket.socket
    receiver: socket.socket
    target: tuple[str, int]
    rate: float
    began: float
    sent_at: array.array[float] = field(default_factory=lambda: array.array("d"))
    seen: bytearray = field(default_factory=bytearray)
    ended: float | None = None

    def send_due(self, now: float) -> None:
        """Send what the rate asks for by *now*; what the kernel refuses is sent and lost."""
        if self.ended is not None:
            return
        most = max(1, int(self.rate * CATCH_UP))
        due = int((now - self.began) * self.rate) + 1 - len(self.seen)
        if due > most:  # the machine did not let us run; all at once would overflow the receiver's buffer
            self.began += (due - most) / self.rate
            due = most
        for number in range(len(self.seen), len(self.seen) + due):
            self.sent_at.append(time.monotonic())
            self.seen.append(0)
            with contextlib.suppress(OSError):
                self.sender.sendto(SEQUENCE.pack(number), self.target)

    def drain(self) -> None:
        """Take in what has arrived."""
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = self.receiver.recv(64)
                if len(packet) == SEQUENCE.size:  # a stranger's packet must not stop the count
                    self.seen[SEQUENCE.unpack(packet)[0]] = 1

    def figures(self, now: float) -> dict[str, Any]:
        """Counts of the packets that are old enough to have arrived, and the outages among them.

        An outage is a run of lost packets: from the sending of the last one that arrived before it
        to the sending of the first one after it. At 1,000 packets a second they show to the millisecond.
        """
        self.drain()
        last = now - GRACE
        sent = len(self.seen)
        while sent and self.sent_at[sent - 1] > last:
            sent -= 1
        received = self.seen.count(1, 0, sent)
        return {
            "sent": sent,
            "received": received,
            "lost": sent - received,
            "outages": list(itertools.islice(self._outages(sent), MOST_OUTAGES)),
            "gap_ms": max((ms for _, ms, _ in self._outages(sent)), default=0.0),
        }

    def _outages(self, sent: int) -> Iterator[tuple[float, float, int]]:
        """When each outage began (monotonic clock), its milliseconds, and its lost packets."""
        start = self.seen.find(0, 0, sent)
        while start >= 0:
            end = self.seen.find(1, start, sent)
            before = self.sent_at[max(start - 1, 0)]
            after = self.sent_at[end if end >= 0 else sent - 1]
            yield before, (after - before) * 1000, (end if end >= 0 else sent) - start
            start = self.seen.find(0, end, sent) if end >= 0 else -1

    def close(self) -> None:
        self.sender.close()
        self.receiver.close()


@dataclass(slots=True)
class Engine:
    """All flows, by the number that their starter gave them."""

    control: socket.socket
    flows: dict[int, _Flow] = field(default_factory=dict)

    def run(self) -> None:
        """Work until the other side closes the control socket."""
        next_drain = 0.0
        while True:
            now = time.monotonic()
            for flow in self.flows.values():
                flow.send_due(now)
            if now >= next_drain:
                next_drain = now + DRAIN
                self._receive(now)
            idle = max(0.0, now + TICK - time.monotonic()) if self.flows else None
            if select.select([self.control], [], [], idle)[0] and not self._obey():
                return

    def _receive(self, now: float) -> None:
        for number, flow in list(self.flows.items()):
            flow.drain()
            if flow.ended is not None and now >= flow.ended + GRACE:
                del self.flows[number]
                self._answer(number, flow.figures(now))
                flow.close()

    def _obey(self) -> bool:
        """Carry out one order; False when there will be no more."""
        message, descriptors, _, _ = socket.recv_fds(self.control, 65536, 2)
        if not message:
            return False
        order: dict[str, Any] = json.loads(message)
        now = time.monotonic()
        if order["do"] == "start":
            sender, receiver = (socket.socket(fileno=descriptor) for descriptor in descriptors)
            receiver.setblocking(False)
            target = (order["address"], receiver.getsockname()[1])
            self.flows[order["flow"]] = _Flow(sender, receiver, target, order["rate"], now)
        elif order["do"] == "stop":
            self.flows[order["flow"]].ended = now
        else:
            self._answer(order["flow"], self.flows[order["flow"]].figures(now))
        return True

    def _answer(self, flow: int, figures: dict[str, Any]) -> None:
        self.control.send(json.dumps({"flow": flow, **figures}).encode())


if __name__ == "__main__":
    Engine(socket.socket(fileno=int(sys.argv[1]))).run()
