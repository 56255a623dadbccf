"""Switches the garbage collector off while modules are loaded and clients are built.

Handlers import this module before anything else, and call `done` when everything is loaded. Loading makes
many objects and hardly any garbage. To look for garbage again and again takes a sixth of a cold start, and
while a failover starts cold, packets are lost.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_BEFORE = gc.isenabled()
gc.disable()


def done() -> None:
    """Everything is loaded: switch the collector on again."""
    if _BEFORE:
        gc.enable()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Switch the collector off for the block. `bootstrap` builds clients in it."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
