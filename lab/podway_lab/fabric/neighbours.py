"""Tells hosts their neighbours' hardware addresses, where there are too many to be resolved.

A crowded fabric calls it for each new host. The kernel keeps one table of neighbours for all namespaces,
with room for 1,024 resolved ones (``gc_thresh3``, which only the first namespace may set). Permanent
entries do not count.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from podway_agent.kernel.netlink import F_CREATE, F_REPLACE, Netlink, Request, attribute

from podway_lab.fabric.host import Host
from podway_lab.fabric.switch import Port

RTM_NEWNEIGH = 28
NDMSG = struct.Struct("=BxxxiHBB")
NUD_PERMANENT = 0x80
NDA_DST, NDA_LLADDR = 1, 2
DEVICE = "ens5"


def introduce(newcomer: Host, others: Iterable[Host]) -> None:
    """Let *newcomer* and each of the *others* know each other. Raises OSError."""
    others = list(others)
    _tell(newcomer, [other.port for other in others])
    for other in others:
        _tell(other, [newcomer.port])


def _tell(host: Host, ports: list[Port]) -> None:
    def inside() -> None:
        link = socket.if_nametoindex(DEVICE)
        with Netlink() as kernel:
            answers = kernel.ask([_entry(link, port) for port in ports])
        if refused := next(filter(None, answers), None):
            raise refused

    host.call(inside)


def _entry(link: int, port: Port) -> Request:
    return Request(
        RTM_NEWNEIGH,
        F_CREATE | F_REPLACE,
        NDMSG.pack(socket.AF_INET, link, NUD_PERMANENT, 0, 0)
        + attribute(NDA_DST, socket.inet_aton(port.address))
        + attribute(NDA_LLADDR, bytes.fromhex(port.mac.replace(":", ""))),
    )
