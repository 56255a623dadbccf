"""What counts in a run: the pod CIDRs, what a former life of the store left, and what agents say they hold.

The first decision of a run. `app.inheritance` writes what is to be written of it; `decide` goes on from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.health.verdict import Verdict
from podway.domain.inventory import Epoch
from podway.domain.members.epochs import Inheritance, claim_held, found_in_tables
from podway.domain.pod_cidrs import PodCidrs, pod_cidrs_that_count
from podway.domain.run.memory import newest_of, words_of
from podway.domain.run.seen import Rules, Seen, look_at_life


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What is seen as it counts, and what of it is news to the store."""

    seen: Seen
    """With the epoch and what it takes over. Members have what their agents say they hold."""
    rules: Rules
    """With the pod CIDRs that count."""
    kept_free: tuple[Prefix, ...]
    """Said to be held, and given to nobody."""
    warnings: tuple[str, ...]
    epoch: Epoch | None
    """To be recorded; None if it is."""
    found: Inheritance
    """Routes and supernets to be recorded."""
    dropped: tuple[Verdict, ...] = ()
    """Verdicts of the former life."""

    @property
    def is_first_run(self) -> bool:
        """Whether it is the first of an epoch, or one after a first that was cut off."""
        return not self.seen.life.epoch.is_taken_up

    def judged(self, verdicts: Mapping[str, Verdict]) -> TakenUp:
        """The same with the *verdicts* as they are now."""
        return replace(self, seen=replace(self.seen, memory=replace(self.seen.memory, verdicts=verdicts)))


def take_up(seen: Seen, rules: Rules) -> TakenUp:
    """What counts of *seen*. An epoch's first run takes over what the tables show, and drops verdicts.

    One that was cut off is decided again by the next run: all of it may be written twice.
    """
    counting = _pod_cidrs(seen, rules)
    rules = replace(rules, pod_cidrs=counting.cidrs)
    memory, life, epoch = seen.memory, seen.life, seen.life.epoch
    found, dropped = Inheritance({}, {}), tuple[Verdict, ...]()
    if not epoch.is_taken_up:
        found = found_in_tables(
            seen.survey.route_tables,
            pod_cidrs=rules.pod_cidrs,
            members=(*seen.membership.present, *seen.membership.quarantined),
            recorded=memory.records,
            supernets=memory.supernets,
        )
        epoch = replace(epoch, is_inherited=epoch.is_inherited or bool(found.records))
        dropped = tuple(memory.verdicts.values())
        memory = replace(
            memory,
            epoch=epoch,
            records={**memory.records, **found.records},
            supernets={**memory.supernets, **found.supernets},
            verdicts={},
        )
        life = look_at_life(memory, seen.membership, seen.table_id, now=seen.at)
    memory = replace(memory, epoch=epoch)
    claimed = claim_held(
        life,
        words_of(memory, seen.membership.present),
        present=seen.membership.present,
        quarantined=seen.membership.quarantined,
        supernets=memory.supernets,
        newest=newest_of(memory),
        host_bits=WIDTH[rules.pod_cidrs[0].version] - rules.block_length,
    )
    membership = replace(seen.membership, present=claimed.present, quarantined=claimed.quarantined)
    return TakenUp(
        replace(seen, memory=memory, membership=membership, life=life),
        rules,
        claimed.kept_free,
        (*counting.warnings, *claimed.warnings),
        epoch if epoch != seen.memory.epoch else None,
        found,
        dropped,
    )


def _pod_cidrs(seen: Seen, rules: Rules) -> PodCidrs:
    """The former pod CIDRs where those that were set would orphan what is in use."""
    held = {prefix for member in seen.memory.members for prefix in member.prefixes}
    held |= {prefix for several in seen.memory.supernets.values() for prefix in several}
    return pod_cidrs_that_count(
        rules.pod_cidrs,
        former={cidr for one in seen.memory.maps.values() for cidr in one.pod_cidrs},
        held=held,
        vpc_cidrs=seen.survey.vpc_cidrs,
    )
