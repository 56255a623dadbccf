"""One end of a TCP stream that is as fast as it goes: a program of its own, which `stream` starts.

``stream_engine.py receive ADDRESS`` prints its port, then the bytes and the seconds that they took.
``stream_engine.py send ADDRESS PORT SECONDS`` prints how many segments it had to send again.
It uses the standard library only, and nothing of the lab, because it must start fast.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

CHUNK = 1 << 20
RETRANSMITTED_AT = 100
"""Offset of ``tcpi_total_retrans`` in the kernel's ``struct tcp_info`` (uapi/linux/tcp.h)."""


def receive(address: str) -> None:
    """Take in one stream to its end."""
    with socket.create_server((address, 0)) as server:
        server.settimeout(30)
        sys.stdout.write(f"{server.getsockname()[1]}\n")
        sys.stdout.flush()
        connection, _ = server.accept()
    buffer = bytearray(CHUNK)
    with connection:
        total = connection.recv_into(buffer)
        began = time.perf_counter()
        while taken := connection.recv_into(buffer):
            total += taken
        sys.stdout.write(f"{total} {time.perf_counter() - began}\n")


def send(address: str, port: int, seconds: float) -> None:
    """Send for *seconds*."""
    payload = memoryview(bytes(CHUNK))
    with socket.create_connection((address, port), timeout=30) as connection:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            connection.sendall(payload)
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    sys.stdout.write(f"{struct.unpack_from('=I', told, RETRANSMITTED_AT)[0]}\n")


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2])
    else:
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
