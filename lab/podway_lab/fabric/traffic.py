"""Continuous UDP traffic between pods or hosts, and how much of it was lost.

Scenarios and the longer tests keep it running while something else happens.
"""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from podway_lab.fabric.host import Endpoint
from podway_lab.fabric.namespace import Namespace, new_namespace

SO_RCVBUFFORCE = 33
"""asm-generic/socket.h; unlike SO_RCVBUF not held down by net.core.rmem_max, but only for real root."""

RECEIVE_BUFFER = 8 << 20
"""Bytes: some 10 s of a 1 kHz flow, so that a busy machine never looks like a lossy network.

In a user namespace the kernel's default limit leaves half a second.
"""


class Outage(NamedTuple):
    """A run of lost packets: when it began (``time.monotonic``), how long it took, how many were lost."""

    began: float
    ms: float
    lost: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Packets *sent*, *received*, *lost*; *gap_ms* is the longest outage, 0 when nothing was lost."""

    sent: int
    received: int
    lost: int
    gap_ms: float
    outages: tuple[Outage, ...] = ()
    """In order; the first 200."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow under way."""

    number: int
    source: Endpoint
    target: Endpoint
    traffic: Traffic

    def look(self) -> Figures:
        """The figures so far, without packets that may still arrive."""
        return self.traffic.look(self)

    def stop(self) -> Figures:
        """Stop sending, wait for what is under way, and take stock."""
        return self.traffic.stop(self)[0]


class Traffic:
    """All flows, sent and counted by one process of low cost (see `flow_engine`).

    We open sockets inside the ends' namespaces and hand them to it. It ends with `close`, or with us.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        engine = Path(__file__).with_name("flow_engine.py")
        self._control = ours
        self._home = new_namespace()  # the engine needs no network, only the sockets it is given
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        with theirs:
            theirs.set_inheritable(True)
            number = theirs.fileno()
            self._home.popen([sys.executable, "-ES", engine, str(number)], pass_fds=[number])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, source: Endpoint, target: Endpoint, *, rate: float = 1000) -> Flow:
        """Send *rate* small packets a second from *source* to *target*'s address, until stopped."""
        with _socket_of(source) as sender, _socket_of(target) as receiver, self._lock:
            flow = Flow(next(self._numbers), source, target, self)
            order = {"do": "start", "flow": flow.number, "address": target.address, "rate": rate}
            descriptors = [sender.fileno(), receiver.fileno()]
            socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
            return flow

    def stop(self, *flows: Flow) -> list[Figures]:
        """Stop all of *flows* at once, which takes no longer than one; their figures in that order."""
        with self._lock:
            for flow in flows:
                self._order("stop", flow)
            answers = dict(self._answer() for _ in flows)
            return [answers[flow.number] for flow in flows]

    def look(self, flow: Flow) -> Figures:
        with self._lock:
            self._order("look", flow)
            return self._answer()[1]

    def close(self) -> None:
        """End all flows, without figures; twice is fine."""
        self._control.close()
        self._home.close()

    def _order(self, what: str, flow: Flow) -> None:
        self._control.send(json.dumps({"do": what, "flow": flow.number}).encode())

    def _answer(self) -> tuple[int, Figures]:
        message = self._control.recv(65536)
        if not message:
            raise ConnectionError("the flow engine has ended")
        answer = json.loads(message)
        outages = tuple(Outage(*one) for one in answer.pop("outages"))
        return answer.pop("flow"), Figures(**answer, outages=outages)


def _socket_of(machine: Namespace) -> socket.socket:
    """A bound UDP socket of *machine*, with as large a buffer as we may have."""
    sock = machine.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind(("", 0))
    return sock
