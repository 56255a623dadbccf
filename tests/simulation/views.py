"""Route tables as a caller was shown them, and where packets go by them. The checker and its books ask."""

from __future__ import annotations

from collections.abc import Mapping

from podway.domain.addressing import Prefix

View = dict[Prefix, str]


class Broken(AssertionError):
    """An invariant does not hold."""


def catches(view: Mapping[Prefix, str], block: Prefix) -> Prefix | None:
    """The longest prefix of *view* that contains *block*, found by trying every length."""
    return next((at for n in range(block.length, -1, -1) if (at := block.at(n)) in view), None)


def hop(view: Mapping[Prefix, str], block: Prefix) -> str | None:
    """The target that a packet for *block* goes to."""
    found = catches(view, block)
    return view[found] if found is not None else None
