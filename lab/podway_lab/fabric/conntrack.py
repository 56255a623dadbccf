"""Fills a namespace's connection tracking table, as a busy or attacked node's can be.

Hosts call it for a fault. Packets would not do: the kernel lets new flows push out those that nobody has
answered. So it makes entries through ctnetlink (uapi/linux/netfilter/nfnetlink_conntrack.h), marked as
answered. The kernel's limit is one number for all namespaces, which only the first may set; each namespace
counts alone.
"""

from __future__ import annotations

import errno
import itertools
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from podway_lab.fabric.namespace import Namespace

NETLINK_NETFILTER = 12
CREATE_ENTRY = 1 << 8
"""Subsystem ctnetlink, message IPCTNL_MSG_CT_NEW."""
DELETE_ENTRIES = 1 << 8 | 2
"""IPCTNL_MSG_CT_DELETE; all of them, if none is named."""
NLM_F_REQUEST, NLM_F_CREATE, NLM_F_EXCL = 0x1, 0x400, 0x200
NESTED = 0x8000
SEEN_REPLY, ASSURED, CONFIRMED = 0x2, 0x4, 0x8
LIFE_SECONDS = 3600
BATCH = 400
LIMIT = Path("/proc/sys/net/netfilter/nf_conntrack_max")
COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
FROM, TO = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
"""Addresses for documentation (RFC 5737): no packet of the lab has them."""


def limit() -> int:
    """How many flows a namespace may track."""
    return int(LIMIT.read_text())


def tracked(namespace: Namespace) -> int:
    """How many flows *namespace* tracks."""
    return namespace.call(lambda: int(COUNT.read_text()))


def fill(namespace: Namespace) -> int:
    """Fill the table until it takes no more; how many flows it then holds. Raises OSError."""
    wanted = limit()
    ports = ((first, second) for first in range(1, 1 << 16) for second in range(1, 1 << 16))
    with namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        kernel.bind((0, 0))
        kernel.setblocking(False)
        while (missing := wanted - tracked(namespace)) > 0:
            for batch in _batches(itertools.islice(ports, missing)):
                kernel.send(batch)
                if errno.ENOMEM in _refusals(kernel):
                    return tracked(namespace)
    return tracked(namespace)


def empty(namespace: Namespace) -> None:
    """Forget every flow that *namespace* tracks."""
    with namespace.open_socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
        header = struct.pack("=BBH", socket.AF_UNSPEC, 0, 0)
        kernel.send(struct.pack("=IHHII", 16 + len(header), DELETE_ENTRIES, NLM_F_REQUEST, 0, 0) + header)


def _batches(ports: Iterator[tuple[int, int]]) -> Iterator[bytes]:
    while part := list(itertools.islice(ports, BATCH)):
        yield b"".join(_entry(*pair) for pair in part)


def _refusals(kernel: socket.socket) -> set[int]:
    """Error numbers of what the kernel refused so far; successes are not acknowledged."""
    found = set()
    try:
        while True:
            answer = kernel.recv(1 << 16)
            found.add(-struct.unpack_from("=i", answer, 16)[0])
    except BlockingIOError:
        return found


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _tuple(kind: int, source: bytes, target: bytes, ports: tuple[int, int]) -> bytes:
    addresses = _attribute(1, source) + _attribute(2, target)
    protocol = _attribute(1, bytes([socket.IPPROTO_UDP]))
    protocol += b"".join(_attribute(2 + number, struct.pack("!H", port)) for number, port in enumerate(ports))
    parts = _attribute(1 | NESTED, addresses) + _attribute(2 | NESTED, protocol)
    return _attribute(kind | NESTED, parts)


def _entry(first: int, second: int) -> bytes:
    """One UDP flow, answered and far from its end."""
    body = (
        struct.pack("=BBH", socket.AF_INET, 0, 0)
        + _tuple(1, FROM, TO, (first, second))
        + _tuple(2, TO, FROM, (second, first))
        + _attribute(3, struct.pack("!I", SEEN_REPLY | ASSURED | CONFIRMED))
        + _attribute(7, struct.pack("!I", LIFE_SECONDS))
    )
    flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
    return struct.pack("=IHHII", 16 + len(body), CREATE_ENTRY, flags, 0, 0) + body
