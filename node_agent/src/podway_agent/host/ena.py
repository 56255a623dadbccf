"""Counts the packets that EC2 held back because the instance was over an allowance. Telemetry and doctor ask.

The counts are the ENA driver's own statistics (``ethtool -S``; AWS's "Monitor network performance for
ENA settings"). Other drivers have other statistics, or none: then the counts are empty.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import socket
import struct
from collections.abc import Callable

SIOCETHTOOL = 0x8946
GET_STATISTICS, GET_STRINGS, GET_SET_SIZES = 0x1D, 0x1B, 0x37
STATISTICS = 1
"""The set of names to ask for (ETH_SS_STATS)."""
NAME_BYTES = 32
EXCEEDED = "_allowance_exceeded"

Ask = Callable[[bytearray], None]
"""Has the driver fill in the rest of a request (linux/ethtool.h). Raises OSError."""


def ethtool(interface: str) -> Ask:
    """Ask the driver of *interface* in the caller's network namespace."""

    def ask(request: bytearray) -> None:
        place = (ctypes.c_char * len(request)).from_buffer(request)
        asked = array.array("B", struct.pack("16sP16x", interface.encode(), ctypes.addressof(place)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, SIOCETHTOOL, asked)

    return ask


def statistics(ask: Ask) -> dict[str, int]:
    """All of the driver's statistics by name. Raises OSError where it has none."""
    sizes = bytearray(struct.pack("=IIQI", GET_SET_SIZES, 0, 1 << STATISTICS, 0))
    ask(sizes)
    mask, count = struct.unpack_from("=8xQI", sizes)
    if not mask:
        return {}
    names = bytearray(struct.pack("=III", GET_STRINGS, STATISTICS, count)) + bytearray(count * NAME_BYTES)
    ask(names)
    values = bytearray(struct.pack("=II", GET_STATISTICS, count)) + bytearray(count * 8)
    ask(values)
    named = (bytes(names[12 + n * NAME_BYTES :][:NAME_BYTES]).partition(b"\0")[0] for n in range(count))
    return dict(
        zip((name.decode() for name in named), struct.unpack_from(f"={count}Q", values, 8), strict=True)
    )


def exceeded(ask: Ask) -> dict[str, int]:
    """Packets held back since boot by kind of allowance (bw_in, bw_out, pps, conntrack, linklocal).

    Empty where the driver does not count them.
    """
    try:
        found = statistics(ask)
    except OSError:
        return {}
    return {
        name.removesuffix(EXCEEDED): count for name, count in sorted(found.items()) if name.endswith(EXCEEDED)
    }
