"""Tries every pair at once: sends a packet from each end to each other, and looks at it on arrival.

The sentence `pods reach pods` and tests use it. One socket per end and one thread for all, so that 3,540
pairs of 60 pods take a second or two.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

from podway_lab.fabric.host import Endpoint
from podway_lab.fabric.probes import wait_for

TTL = 64
IP_RECVTTL = 12
"""linux/in.h; Python has no name for it."""
NUMBER = struct.Struct("!II")
QUIET_SECONDS = 1.0
"""Wait until nothing has come for so long: on a busy machine packets are late, not lost."""
BURST = 200
"""Packets between two rounds of receiving; a socket's buffer holds more."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet that arrived: the address it came from, and how many kernels forwarded it."""

    source: str
    forwarded: int

    @property
    def relays(self) -> int:
        """How many nodes forwarded it beside the sender's and the receiver's own; for pods of two nodes."""
        return self.forwarded - 2


def sweep(machines: Mapping[str, Endpoint]) -> dict[tuple[str, str], Heard | None]:
    """What arrived for each ordered pair of names; None for nothing."""
    names = sorted(machines)
    found: dict[tuple[str, str], Heard | None] = dict.fromkeys(itertools.permutations(names, 2))
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(_socket_of(machines[name])) for name in names}
        listener = _Listener(names, {sockets[name]: number for number, name in enumerate(names)}, found)
        for count, (source, target) in enumerate(found, start=1):
            number = NUMBER.pack(names.index(source), names.index(target))
            with contextlib.suppress(OSError):  # unreachable, or an earlier packet was
                sockets[source].sendto(number, sockets[target].getsockname())
            if count % BURST == 0:
                listener.listen(0)
        listener.listen(QUIET_SECONDS)
    return found


class _Listener:
    def __init__(
        self,
        names: list[str],
        sockets: Mapping[socket.socket, int],
        found: dict[tuple[str, str], Heard | None],
    ) -> None:
        self._names, self._sockets, self._found = names, sockets, found
        self._missing = len(found)

    def listen(self, quiet: float) -> None:
        """Take in what arrives, until all is there or nothing has come for *quiet* seconds."""
        last = time.monotonic()
        while self._missing:
            ready = wait_for(list(self._sockets), quiet)
            heard = sum(self._drain(one) for one in ready)
            last = time.monotonic() if heard else last
            if time.monotonic() - last >= quiet:
                return

    def _drain(self, receiver: socket.socket) -> int:
        count = 0
        while True:
            try:
                data, ancillary, _, (address, _) = receiver.recvmsg(64, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return count
            except OSError:  # an ICMP error, of a packet that we sent
                continue
            count += self._take(receiver, data, ancillary[0][2] if ancillary else b"", address)

    def _take(self, receiver: socket.socket, data: bytes, ttl: bytes, address: str) -> int:
        if len(data) != NUMBER.size or len(ttl) != 4:  # noqa: PLR2004  (an int of C)
            return 0
        source, target = NUMBER.unpack(data)
        if target != self._sockets[receiver]:
            return 0
        pair = (self._names[source], self._names[target])
        self._missing -= self._found[pair] is None
        self._found[pair] = Heard(address, TTL - struct.unpack("=i", ttl)[0])
        return 1


def _socket_of(machine: Endpoint) -> socket.socket:
    sock = machine.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setsockopt(socket.SOL_IP, socket.IP_TTL, TTL)
    sock.setsockopt(socket.SOL_IP, IP_RECVTTL, 1)
    sock.bind((machine.address, 0))
    sock.setblocking(False)
    return sock


def matrix(found: Mapping[tuple[str, str], Heard | None]) -> str:
    """All pairs as a table: a row per sender, ``.`` direct, 1 and more relays, ``x`` for nothing."""
    names = sorted({name for pair in found for name in pair})
    width = max(map(len, names))
    lines = [" ".join([" " * width, *(name.rjust(width) for name in names)])]
    for source in names:
        marks = (_mark(found.get((source, target), ...)) for target in names)
        lines.append(" ".join([source.rjust(width), *(mark.rjust(width) for mark in marks)]))
    return "\n".join(lines)


def _mark(heard: object) -> str:
    match heard:
        case None:
            return "x"
        case Heard():
            return str(heard.relays) if heard.relays > 0 else "."
        case _:
            return ""
