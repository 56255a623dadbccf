"""Writes what reconcile takes over before it decides: tables that are ours from now on, and a new epoch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from podway.app.errors import PodwayError
from podway.app.ports import Cloud
from podway.app.stores import EpochStore, InheritanceStore
from podway.domain.members.epochs import StoreLife
from podway.domain.run.inheritance import TakenUp


def mark_as_ours(cloud: Cloud, tables: Collection[str], stack: str) -> list[str]:
    """Mark *tables*, which nobody has marked, as this *stack*'s. Returns warnings."""
    if not tables:
        return []
    try:
        cloud.mark_tables(tables, stack)
    except PodwayError as error:
        return [f"{', '.join(tables)} cannot be marked as ours: {error}"]
    return []


def save_inheritance(store: InheritanceStore, owner: str, taken: TakenUp) -> None:
    """Record the epoch and what its first run takes over; have agents that are waited for told of it.

    Members with what they say they hold are saved with the rest of the inventory.
    """
    if taken.epoch is not None:
        store.save_epoch(owner, taken.epoch)
    for table, destinations in sorted(taken.found.records.items()):
        store.record_routes(owner, table, destinations)
    if taken.found.supernets:
        store.save_inventory(owner, members=(), forgotten=(), supernets=taken.found.supernets)
    for verdict in taken.dropped:
        store.forget_verdict(verdict)
    if taken.is_first_run:
        store.drop_buckets()
    for subnet in taken.seen.life.awaited:
        store.announce_epoch(subnet, taken.seen.life.epoch.number)


def finish_first_run(store: EpochStore, owner: str, life: StoreLife) -> None:
    """Note that the epoch's first run is over: its cards are written."""
    if not life.epoch.is_taken_up:
        store.save_epoch(owner, replace(life.epoch, is_taken_up=True))
