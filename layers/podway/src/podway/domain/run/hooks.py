"""Which terminations wait for a node that still relays, and which go on.

Reconcile asks last, by the tables as they are then; `app.upkeep` tells Auto Scaling.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from podway.domain.signals import LifecycleHook, PendingHook

HOOK_PATIENCE = timedelta(minutes=30)
"""How long a node's termination is put off while nobody can take over its routes."""


@dataclass(frozen=True, slots=True)
class HookMove:
    """What becomes of one hook: it is extended, or else forgotten, and completed if its node lives."""

    hook: LifecycleHook
    is_extended: bool
    is_completed: bool
    warning: str = ""
    """What to say when it is done."""


def hook_moves(
    pending: Mapping[str, PendingHook],
    *,
    alive: Collection[str],
    relaying: Collection[str],
    now: datetime,
) -> tuple[HookMove, ...]:
    """Complete the hooks of nodes that relay nothing any more, and extend the others'.

    A hook that has waited for HOOK_PATIENCE is completed in any case.
    """
    moves = []
    for node, waiting in sorted(pending.items()):
        needed = node in alive and node in relaying
        late = now - waiting.since > HOOK_PATIENCE
        warning = f"{node} goes although nobody takes over what it relays" if needed and late else ""
        extended = needed and not late
        moves.append(HookMove(waiting.hook, extended, node in alive and not extended, warning))
    return tuple(moves)
