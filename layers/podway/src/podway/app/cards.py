"""Writes failover cards; called by reconcile before its first route call."""

from __future__ import annotations

from podway.app.ports import Store
from podway.domain.failover.card_changes import CardChanges, HandsOff


def write_cards(store: Store, changes: CardChanges) -> HandsOff:
    """Write and remove cards. A node whose card was claimed since it was read is left to its failover."""
    overtaken = {card.network_interface for card in changes.write if not store.put_card(card)}
    for node in changes.remove:
        store.remove_card(node)
    known = changes.hands_off
    return HandsOff(known.no_new_routes | overtaken, known.being_moved | overtaken, known.look_again)
