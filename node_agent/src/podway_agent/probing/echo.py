"""ICMP echo requests and their answers, for both families: bytes, and a socket that marks each packet.

Prober sends and hears through it.

Constants are those of the kernel's ``uapi/linux/icmp.h``, ``icmpv6.h`` and ``asm-generic/socket.h``.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

from podway.domain.addressing import Prefix

from podway_agent.kernel.routing import FAMILY

REQUEST = {4: 8, 6: 128}
REPLY = {4: 0, 6: 129}
_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_HEADER = struct.Struct("!BBHHH")
SERIAL = struct.Struct("!Q")
ICMP_FILTER = 1
SOL_RAW = 255
SO_MARK = 36
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("=qq")
TTL = 8
"""A probe that goes round in a loop does so briefly."""
_LONGEST_ANSWER_BYTES = 512
_LONGEST_NOTE_BYTES = 64


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def request(version: int, secret: bytes, serial: int) -> bytes:
    """An echo request that carries our *secret* (of even length) and its *serial* number."""
    text = secret + SERIAL.pack(serial)
    numbers = (serial >> 16 & 0xFFFF, serial & 0xFFFF)
    blank = _HEADER.pack(REQUEST[version], 0, 0, *numbers) + text
    # the kernel fills in ICMPv6's, which covers the addresses too
    return _HEADER.pack(REQUEST[version], 0, checksum(blank) if version == 4 else 0, *numbers) + text  # noqa: PLR2004  (the family's own number)


def serial_of(version: int, packet: bytes, secret: bytes) -> int | None:
    """The serial number in an answer to one of our requests; None for whatever else came."""
    start = (packet[0] & 0xF) * 4 if version == 4 and packet else 0  # noqa: PLR2004  (as above)
    end = start + _HEADER.size + len(secret)
    if len(packet) != end + SERIAL.size or packet[start] != REPLY[version]:
        return None
    if packet[start + _HEADER.size : end] != secret:
        return None
    number: int = SERIAL.unpack_from(packet, end)[0]
    return number


class EchoSocket:
    """Sends echo requests from one address, and hears only the answers to it. Needs CAP_NET_RAW."""

    def __init__(self, source: Prefix, secret: bytes) -> None:
        self._version, self._secret = source.version, secret
        self._socket = socket.socket(
            FAMILY[source.version], socket.SOCK_RAW | socket.SOCK_NONBLOCK, _PROTOCOL[source.version]
        )
        try:
            self._hear_answers_only()
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._socket.bind((source.first_address, 0))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _hear_answers_only(self) -> None:
        reply = REPLY[self._version]
        if self._version == 4:  # noqa: PLR2004  (the family's own number)
            blocked = ~(1 << reply) & 0xFFFFFFFF
            self._socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", blocked))
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
            return
        words = [0xFFFFFFFF] * 8
        words[reply >> 5] &= ~(1 << (reply & 31)) & 0xFFFFFFFF
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP_FILTER, struct.pack("=8I", *words))
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)

    def send(self, target: Prefix, serial: int, *, mark: int = 0) -> None:
        """Send one request by the path of *mark* (0: by the node's own routes). Raises OSError."""
        packet = request(self._version, self._secret, serial)
        marked = [(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))] if mark else []
        self._socket.sendmsg([packet], marked, 0, (target.first_address, 0))

    def answers(self) -> Iterator[tuple[int, float]]:
        """Serial number and time of arrival (as time.time()) of the answers that wait. Raises OSError."""
        while True:
            try:
                packet, notes, _, _ = self._socket.recvmsg(_LONGEST_ANSWER_BYTES, _LONGEST_NOTE_BYTES)
            except BlockingIOError:
                return
            serial = serial_of(self._version, packet, self._secret)
            if serial is not None:
                yield serial, _stamp(notes)


def _stamp(notes: list[tuple[int, int, bytes]]) -> float:
    for level, kind, value in notes:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS) and len(value) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()
