"""Who watches whom: a few siblings probe through each forwarder, and several must agree before it counts.

``make_cards`` asks. Reconcile tells the agents (the snapshot's ``watches``) and failover (the card's
``watchers``) the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b

from podway.domain.model import Cluster
from podway.domain.routing import is_in_service

WATCHERS = 3
"""Watchers of one forwarder."""
LEAST_QUORUM = 2
"""Votes. One node alone convicts nobody: it may be the broken one, or in somebody else's hands."""


def assign_watchers(cluster: Cluster, forwarders: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Up to three siblings for each forwarder, by rendezvous hash.

    A join or a loss changes only the assignments that it must. A suspect goes on watching; else each
    suspicion would give every agent of the subnet a new map.
    """
    siblings: dict[str, list[str]] = {}
    for node in cluster.nodes:
        if is_in_service(node):
            siblings.setdefault(node.subnet, []).append(node.id)
    return {
        node.id: _nearest(node.id, siblings.get(node.subnet, ()))
        for node in sorted(cluster.nodes, key=lambda node: node.id)
        if node.id in forwarders
    }


def watches_of(watcher: str, watches: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The forwarders that *watcher* probes."""
    return tuple(sorted(forwarder for forwarder, watchers in watches.items() if watcher in watchers))


def quorum(watchers: Collection[str]) -> int | None:
    """How many of the assigned watchers must agree; None where they are too few to convict anybody."""
    return max(len(watchers) // 2 + 1, LEAST_QUORUM) if len(watchers) >= LEAST_QUORUM else None


def _nearest(forwarder: str, siblings: Iterable[str]) -> tuple[str, ...]:
    others = (one for one in siblings if one != forwarder)
    return tuple(sorted(sorted(others, key=lambda one: _distance(forwarder, one))[:WATCHERS]))


def _distance(forwarder: str, sibling: str) -> bytes:
    return blake2b(f"{forwarder} {sibling}".encode(), digest_size=8).digest()
