"""Keeps the garbage collector away while modules are loaded and clients are built.

Both make many objects and hardly any garbage; looking for some again and again takes a sixth of a cold start,
and while a failover starts cold, packets are lost. Handlers import this module before anything else, and say
`done` when everything is loaded.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_BEFORE = gc.isenabled()
gc.disable()


def done() -> None:
    """Everything is loaded."""
    if _BEFORE:
        gc.enable()


@contextmanager
def undisturbed() -> Iterator[None]:
    """The same for what the block builds."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
