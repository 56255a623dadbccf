"""Counts packets where they enter a namespace, by the kernel's counters, which no socket buffer falsifies.

Streams and tests of the data plane use it.
"""

from __future__ import annotations

import itertools
import json
from typing import Self

from podway_lab.fabric.namespace import Namespace

_numbers = itertools.count(1)


class PacketCount:
    """How many packets that match an nftables expression have entered since it was made."""

    def __init__(self, namespace: Namespace, expression: str, *, hook: str = "prerouting") -> None:
        """Count from now on. Raises ToolFailed when *expression* is none."""
        self._namespace = namespace
        self._table = f"lab_count{next(_numbers)}"
        namespace.nft(
            f"table inet {self._table} {{\n  counter hits {{ }}\n  chain {hook} {{\n"
            f"    type filter hook {hook} priority -350\n    policy accept\n"
            f"    {expression} counter name hits\n  }}\n}}\n"
        )

    @property
    def packets(self) -> int:
        """The count so far."""
        text = self._namespace.tool("nft", "-j", "list", "counter", "inet", self._table, "hits")
        objects = json.loads(text)["nftables"]
        return int(next(entry["counter"]["packets"] for entry in objects if "counter" in entry))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._namespace.nft(f"delete table inet {self._table}\n")


def count_packets(namespace: Namespace, expression: str) -> PacketCount:
    """Count packets that enter *namespace* and match, for example, ``ip daddr 100.64.3.9``.

    Before everything else in its prerouting, what is dropped later included. A packet that goes
    round in a loop counts each time. Use it in a ``with``; the rule goes at its end.
    """
    return PacketCount(namespace, expression)


def count_sent(namespace: Namespace, expression: str) -> PacketCount:
    """Count packets of *namespace*'s own that match, as they are sent: before anything can drop them."""
    return PacketCount(namespace, expression, hook="output")
