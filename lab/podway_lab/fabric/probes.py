"""Probes from inside a namespace: who answers, by which path, does TCP work.

Scenarios and tests of the data plane use them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from threading import Thread
from typing import TypeAlias

from podway_lab.fabric.host import Endpoint
from podway_lab.fabric.namespace import Namespace

PORT_UNREACHABLE = 3
ECHO_REPLY, UNREACHABLE, ECHO_REQUEST, TIME_EXCEEDED = 0, 3, 8, 11

# linux/in.h and linux/errqueue.h; Python's socket module has no names for these.
IP_MTU_DISCOVER = 10
IP_PMTUDISC_PROBE = 3
IP_RECVERR = 11
FROM_ICMP = 2
EXTENDED_ERROR = struct.Struct("=IBBBBII4x4s")
"""sock_extended_err, then family and port, then the address of the offender."""

TRACE_PORT = 20000
"""Below the ports that the kernel hands out (32768 on), where traceroute's own 33434 lies."""

_Answer: TypeAlias = tuple[str | None, int]

_identifiers = itertools.count(os.getpid())


@dataclass(frozen=True, slots=True)
class Ping:
    """What came of some echo requests. *rtts* are in ms; *ttl* is the last reply's.

    *refused_by* is who answered "unreachable" to one: None means that losses were silent.
    """

    sent: int
    rtts: tuple[float, ...]
    ttl: int | None
    refused_by: str | None

    @property
    def received(self) -> int:
        return len(self.rtts)

    @property
    def lost(self) -> int:
        return self.sent - self.received


@dataclass(slots=True)
class _Echoes:
    """Echo requests under way on one raw socket."""

    sock: socket.socket
    address: str
    identifier: int
    sent: dict[int, float]
    rtts: dict[int, float]
    ttl: int | None = None
    refused_by: str | None = None

    def send(self, sequence: int, size: int) -> None:
        header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self.identifier, sequence)
        payload = bytes(size)
        checked = header[:2] + struct.pack("!H", checksum(header + payload)) + header[4:]
        self.sent[sequence] = time.monotonic()
        with contextlib.suppress(OSError):  # no route, or larger than the device: lost, as elsewhere
            self.sock.sendto(checked + payload, (self.address, 0))

    def receive(self, until: float) -> None:
        """Take in replies until a time of the monotonic clock, or until all are there."""
        while len(self.rtts) < len(self.sent) and (left := until - time.monotonic()) > 0:
            if not wait_for([self.sock], left):
                return
            packet, (sender, _) = self.sock.recvfrom(65535)
            self._take(packet, sender)

    def _take(self, packet: bytes, sender: str) -> None:
        body = packet[(packet[0] & 15) * 4 :]
        if body[0] == UNREACHABLE:
            original = body[8:]
            if original[(original[0] & 15) * 4 :][4:6] == self.identifier.to_bytes(2, "big"):
                self.refused_by = sender
            return
        kind, _, _, identifier, sequence = struct.unpack("!BBHHH", body[:8])
        if kind == ECHO_REPLY and identifier == self.identifier and sequence in self.sent:
            self.rtts[sequence] = (time.monotonic() - self.sent[sequence]) * 1000
            self.ttl = packet[8]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of *data*, an odd byte padded with zero."""
    even: bytes = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(even) // 2}H", even))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ping(
    source: Namespace,
    address: str,
    *,
    count: int = 1,
    interval: float = 0.02,
    timeout: float = 1.0,
    size: int = 56,
) -> Ping:
    """Ping *address* from *source*: *count* requests *interval* seconds apart, unfragmented.

    Waits *timeout* seconds for stragglers, no longer than needed; *size* is of the payload in bytes.
    """
    with source.open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        echoes = _Echoes(sock, address, next(_identifiers) & 0xFFFF, {}, {})
        for sequence in range(count):
            due = time.monotonic() + interval
            echoes.send(sequence, size)
            if sequence < count - 1:
                echoes.receive(due)
                time.sleep(max(0.0, due - time.monotonic()))
        echoes.receive(time.monotonic() + timeout)
    rtts = tuple(echoes.rtts[sequence] for sequence in sorted(echoes.rtts))
    return Ping(count, rtts, echoes.ttl, echoes.refused_by)


@dataclass(frozen=True, slots=True)
class Trace:
    """The addresses that answered, hop by hop (None: nobody did), and whether the last is the goal."""

    hops: tuple[str | None, ...]
    reached: bool

    @property
    def relays(self) -> tuple[str | None, ...]:
        """The hops that relayed: all but the sender's node, the receiver's node and the receiver.

        Empty says *direct*; meaningful between pods, and only when the goal was reached.
        """
        return self.hops[1:-2]


def trace(source: Namespace, address: str, *, longest: int = 12, timeout: float = 1.0) -> Trace:
    """The path from *source* to *address*, by UDP packets that may live 1, 2, 3… hops.

    All go out at once; a hop that does not answer within *timeout* seconds is None. Hops after the first
    final answer (the goal's, or somebody's "unreachable") are left out, and so are Nones at the end.
    """
    answers: dict[int, _Answer] = {}
    probes = {hop: _send_probe(source, address, hop) for hop in range(1, longest + 1)}
    try:
        until = time.monotonic() + timeout
        while not _is_complete(answers, longest) and (left := until - time.monotonic()) > 0:
            waiting = {probe: hop for hop, probe in probes.items() if hop not in answers}
            for probe in wait_for(list(waiting), left):
                answers[waiting[probe]] = _answer(probe)
    finally:
        for probe in probes.values():
            probe.close()
    final = _final(answers)
    last = final or max(answers, default=0)
    hops = tuple(answers[hop][0] if hop in answers else None for hop in range(1, last + 1))
    return Trace(hops, reached=bool(final) and hops[-1] == address)


def _send_probe(source: Namespace, address: str, hop: int) -> socket.socket:
    probe = source.open_socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.setsockopt(socket.SOL_IP, socket.IP_TTL, hop)
    probe.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
    with contextlib.suppress(OSError):  # no route at all: the same silence as further on
        probe.connect((address, TRACE_PORT + hop))
        probe.send(b"podway")
    return probe


def _answer(probe: socket.socket) -> _Answer:
    """Who complained about the probe, and the ICMP type of the complaint."""
    return _complaint(probe)[:2]


def _complaint(probe: socket.socket) -> tuple[str | None, int, int]:
    """Who complained, and the ICMP type and code of the complaint."""
    _, ancillary, _, _ = probe.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    report = next(data for level, kind, data in ancillary if (level, kind) == (socket.SOL_IP, IP_RECVERR))
    _, origin, kind, code, _, _, _, offender = EXTENDED_ERROR.unpack(report[: EXTENDED_ERROR.size])
    return (socket.inet_ntoa(offender) if origin == FROM_ICMP else None, kind, code)


def _final(answers: dict[int, _Answer]) -> int:
    """The first hop that gave a final answer; 0 for none."""
    return min((hop for hop, (_, kind) in answers.items() if kind != TIME_EXCEEDED), default=0)


def _is_complete(answers: dict[int, _Answer], longest: int) -> bool:
    last = _final(answers) or longest
    return all(hop in answers for hop in range(1, last + 1))


def wait_for(sockets: list[socket.socket], seconds: float) -> list[socket.socket]:
    """The sockets with something to read, or an error, as soon as there is one; [] after *seconds*."""
    by_number = {sock.fileno(): sock for sock in sockets}
    poll = select.poll()
    for number in by_number:
        poll.register(number, select.POLLIN | select.POLLERR)
    return [by_number[number] for number, _ in poll.poll(max(1, int(seconds * 1000)))]


ITSELF = "itself"
"""Who refuses when the sender's own kernel has no route."""


def who_refuses(source: Namespace, address: str, *, timeout: float = 1.0) -> str | None:
    """Who tells *source* that *address* is unreachable; None for a silence of *timeout* seconds.

    A closed port is no refusal: its host was reached.
    """
    with source.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
        try:
            probe.connect((address, TRACE_PORT))
            probe.send(b"podway")
        except OSError:
            return ITSELF
        if not wait_for([probe], timeout):
            return None
        offender, _, code = _complaint(probe)
        return None if code == PORT_UNREACHABLE else offender or ITSELF


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came of a TCP exchange: *echoed* of *size* bytes in *seconds*; *error* is empty if all."""

    size: int
    echoed: int
    seconds: float
    error: str

    @property
    def complete(self) -> bool:
        return self.echoed == self.size and not self.error


def exchange(
    source: Namespace, target: Endpoint, *, port: int = 0, size: int = 100_000, timeout: float = 10.0
) -> Exchange:
    """Connect from *source* to *target* over TCP and have *size* bytes sent back; port 0 picks a free one."""
    began = time.monotonic()
    echoed, error = b"", ""
    payload = os.urandom(size)
    with target.open_socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((target.address, port))
        server.listen(1)
        server.settimeout(timeout)
        echo = Thread(target=_echo, args=(server, size, timeout), name="tcp-echo", daemon=True)
        echo.start()
        with source.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            try:
                client.connect(server.getsockname())
                client.sendall(payload)
                echoed = _read(client, size)
            except OSError as failure:
                error = str(failure)
        echo.join()
    if not error and echoed != payload:
        error = "the bytes that came back are others"
    return Exchange(size, len(echoed), time.monotonic() - began, error)


def _echo(server: socket.socket, size: int, timeout: float) -> None:
    """Read all, then send all: what is in flight stays in the buffers of the two sides."""
    with contextlib.suppress(OSError):
        connection, _ = server.accept()
        with connection:
            connection.settimeout(timeout)
            connection.sendall(_read(connection, size))


def _read(connection: socket.socket, size: int) -> bytes:
    """*size* bytes, fewer if the other side ends or the time is over."""
    received = bytearray()
    with contextlib.suppress(TimeoutError):
        while len(received) < size and (part := connection.recv(65536)):
            received += part
    return bytes(received)
