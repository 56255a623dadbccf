"""Measures how fast a TCP stream gets from one end to another, and what it loses on the way.

``make bench ONLY=throughput`` calls it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from podway_lab.fabric.counting import count_packets, count_sent
from podway_lab.fabric.host import Endpoint

ENGINE = Path(__file__).with_name("stream_engine.py")


@dataclass(frozen=True, slots=True)
class Stream:
    """Bits a second at the receiver; packets that left the sender and did not arrive; segments sent again."""

    rate: float
    lost: int
    repeated: int


def stream(source: Endpoint, target: Endpoint, *, seconds: float) -> Stream:
    """Send from *source* to *target* for *seconds*. It counts the kernel's packets, large ones as one."""
    with source_engine(target, "receive", target.address) as receiver:
        assert receiver.stdout is not None
        port = receiver.stdout.readline().decode().strip()
        matching = f"ip daddr {target.address} tcp dport {port}"
        with count_sent(source, matching) as left, count_packets(target, matching) as arrived:
            with source_engine(source, "send", target.address, port, str(seconds)) as sender:
                repeated, _ = sender.communicate(timeout=seconds + 60)
            took, _ = receiver.communicate(timeout=60)
            lost = left.packets - arrived.packets
    size, duration = took.split()
    return Stream(int(size) * 8 / float(duration), lost, int(repeated))


def source_engine(machine: Endpoint, *arguments: str) -> subprocess.Popen[bytes]:
    """An end of the stream, in the machine's namespace."""
    return machine.popen([sys.executable, "-ES", ENGINE, *arguments], stdout=subprocess.PIPE)
