"""Begins a new epoch of the store, after its table was restored from a backup, or lost and made anew.

The command ``podway restore`` calls it. The runs of reconcile that follow do the rest (`inheritance`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from podway.app.errors import NeedsOperator
from podway.app.ledger import Ledger, take_lease
from podway.app.observe import observe
from podway.app.ports import Clock, Cloud, Hints, HistoryEntry
from podway.app.stores import OperatorStore
from podway.domain.inventory import Epoch
from podway.domain.members.epochs import next_epoch
from podway.domain.run.memory import words_of
from podway.domain.signals import InstanceState


@dataclass(frozen=True, slots=True)
class Restored:
    """The epoch before and after, why the store is not trusted, and which nodes are to say what they hold."""

    before: Epoch
    after: Epoch
    why: str
    waits_for: tuple[str, ...]
    takes_over: tuple[str, ...] = ()
    """Tables that another stack has marked as its own."""


class Restore:
    """The beginning of a new epoch of one cluster's store."""

    def __init__(
        self,
        *,
        cluster: str,
        stack: str = "",
        quarantine: timedelta,
        cloud: Cloud,
        store: OperatorStore,
        ledger: Ledger,
        hints: Hints,
        clock: Clock,
        pause: Callable[[float], None],
    ) -> None:
        self._cluster, self._stack, self._quarantine = cluster, stack, quarantine
        self._cloud, self._store, self._ledger = cloud, store, ledger
        self._hints, self._clock, self._pause = hints, clock, pause

    def plan(self) -> Restored:
        """What would be done. Changes nothing. Raises TryAgain, and NeedsOperator.

        An epoch without its table's TableId would be believed in any table: so it is not begun.
        """
        seen = observe(self._cloud, self._store, self._clock, quarantine=self._quarantine)
        if not seen.table_id:
            raise NeedsOperator("the table's TableId cannot be read: allow dynamodb:DescribeTable on it")
        words = words_of(seen.memory, seen.membership.present)
        began = seen.at
        running = (
            node
            for node, instance in seen.membership.instances.items()
            if instance.state is InstanceState.RUNNING
        )
        return Restored(
            seen.life.epoch,
            next_epoch(seen.life.epoch, seen.table_id, words=words.values(), now=began),
            seen.life.went_back,
            tuple(sorted(running)),
            tuple(sorted(table for table, whose in seen.survey.marks.items() if whose != self._stack)),
        )

    def begin(self, *, patience: timedelta) -> Restored:
        """Begin the next epoch: nobody gets a block before every running member has said what it holds.

        Repeat: begins one more epoch, in which the agents say it again. Cut off: begun or not. Raises
        TryAgain when a run of reconcile holds the lease for *patience*, and NeedsOperator, also where the
        table's TableId cannot be read.
        """
        now = self._clock.now()
        owner = f"operator at {now.isoformat()}"
        take_lease(self._ledger, self._clock, owner, patience, pause=self._pause, cluster=self._cluster)
        try:
            done = self.plan()
            if done.takes_over and not self._stack:
                raise NeedsOperator(
                    f"{', '.join(done.takes_over)} belong to a stack: say by --stack to which"
                )
            self._store.save_epoch(owner, done.after)
            if done.takes_over:
                self._cloud.mark_tables(done.takes_over, self._stack)
            what = f"epoch {done.after.number} of the store begins"
            why = done.why or "asked for by an operator"
            self._store.add_history([HistoryEntry(done.after.began or now, "restore", owner, what, why)])
        finally:
            self._store.release_lease(owner)
        self._hints.hint(f"epoch {done.after.number} has begun")
        return done
