"""What a run of reconcile takes over from a former life of the store, and whom it waits for meanwhile."""

from __future__ import annotations

from dataclasses import replace

from podway.app.epochs import look_at_life, newest_of, words_of
from podway.app.errors import PodwayError
from podway.app.observe import Seen
from podway.app.ports import Cloud, Memory, Store
from podway.app.report import ReconcileOutcome
from podway.domain.addressing import WIDTH, Prefix
from podway.domain.inventory import Epoch, Survey
from podway.domain.members.epochs import Claimed, StoreLife, claim_held, found_in_tables
from podway.domain.tables import table_claims


def claim_tables(cloud: Cloud, survey: Survey, stack: str, outcome: ReconcileOutcome) -> bool:
    """Mark the tables that nobody has marked as this *stack*'s. False if another has some."""
    tagged = {table.id for table in survey.route_tables} - set(survey.untagged_tables)
    claims = table_claims(tagged, survey.marks, stack)
    outcome.other_stacks = sorted(claims.others)
    outcome.warnings += [
        f"{', '.join(tables)} belong to another stack of this cluster ({other}): nothing is written until "
        "`podway release` there, or `podway restore` here takes them over"
        for other, tables in claims.others.items()
    ]
    if claims.unmarked:
        try:
            cloud.mark_tables(claims.unmarked, stack)
        except PodwayError as error:
            outcome.warnings.append(f"{', '.join(claims.unmarked)} cannot be marked as ours: {error}")
    return not claims.others


def take_up(
    store: Store, owner: str, seen: Seen, *, pod_cidrs: tuple[Prefix, ...], block_length: int
) -> tuple[Seen, Claimed]:
    """Record the epoch, take over what the tables show in its first run, and what agents say they hold.

    Agents of subnets that wait are told the epoch, so that they say what they hold. Members with what they
    hold are in what is returned; the caller saves them with the rest of the inventory.
    """
    memory, life = seen.memory, seen.life
    if not life.epoch.is_taken_up:
        memory = _first_run(store, owner, seen, life.epoch, pod_cidrs)
        life = look_at_life(memory, seen.membership, seen.table_id, now=seen.at)
    elif life.epoch != memory.epoch:
        store.save_epoch(owner, life.epoch)
        memory = replace(memory, epoch=life.epoch)
    for subnet in life.awaited:
        store.announce_epoch(subnet, life.epoch.number)
    claimed = claim_held(
        life,
        words_of(memory, seen.membership.present),
        present=seen.membership.present,
        quarantined=seen.membership.quarantined,
        supernets=memory.supernets,
        newest=newest_of(memory),
        host_bits=WIDTH[pod_cidrs[0].version] - block_length,
    )
    membership = replace(seen.membership, present=claimed.present, quarantined=claimed.quarantined)
    return replace(seen, memory=memory, membership=membership, life=life), claimed


def _first_run(store: Store, owner: str, seen: Seen, epoch: Epoch, pod_cidrs: tuple[Prefix, ...]) -> Memory:
    """Take over what the tables show, and drop verdicts and buckets, which are of the former life.

    One that was cut off is done again by the next run: all of it may be repeated.
    """
    memory = seen.memory
    found = found_in_tables(
        seen.survey.route_tables,
        pod_cidrs=pod_cidrs,
        members=(*seen.membership.present, *seen.membership.quarantined),
        recorded=memory.records,
        supernets=memory.supernets,
    )
    epoch = replace(epoch, is_inherited=epoch.is_inherited or bool(found.records))
    if epoch != memory.epoch:
        store.save_epoch(owner, epoch)
    for table, destinations in sorted(found.records.items()):
        store.record_routes(owner, table, destinations)
    if found.supernets:
        store.save_inventory(owner, members=(), forgotten=(), supernets=found.supernets)
    for verdict in memory.verdicts.values():
        store.forget_verdict(verdict)
    store.drop_buckets()
    return replace(
        memory,
        epoch=epoch,
        records={**memory.records, **found.records},
        supernets={**memory.supernets, **found.supernets},
        verdicts={},
    )


def finish_first_run(store: Store, owner: str, life: StoreLife) -> None:
    """Note that the epoch's first run is over: its cards are written."""
    if not life.epoch.is_taken_up:
        store.save_epoch(owner, replace(life.epoch, is_taken_up=True))
