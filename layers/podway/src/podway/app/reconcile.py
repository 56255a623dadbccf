"""The complete path: observe, decide, carry out.

Called by the reconcile function for every hint. It starts from what is there and not from what it
remembers having done, so a run that was cut short, throttled or overtaken is finished by the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from podway.app.carry_out import CarryOut, World
from podway.app.errors import Superseded
from podway.app.inheritance import mark_as_ours, save_inheritance
from podway.app.observe import observe
from podway.app.ports import Alarms, Clock, Cloud, Hints, Hooks
from podway.app.report import ReconcileOutcome, note_seen
from podway.app.stores import Store
from podway.app.upkeep import clear_checks, read_alarms
from podway.app.verdicts import keep_verdicts
from podway.domain.health.alarms import alarms_against
from podway.domain.health.reassess import AlarmsSeen
from podway.domain.run.decide import decide_run
from podway.domain.run.inheritance import TakenUp, take_up
from podway.domain.run.seen import Rules, Seen
from podway.domain.run.verdicts import judge


class Reconcile:
    """Makes routes, blocks, maps, cards and alarms what they should be."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        store: Store,
        hints: Hints,
        clock: Clock,
        alarms: Alarms,
        hooks: Hooks,
        rules: Rules,
    ) -> None:
        self._world = World(cloud, store, hints, clock, alarms, hooks)
        self._rules = rules

    def run(self, owner: str, *, deadline: datetime | None = None) -> ReconcileOutcome:
        """Make one complete run under the lease. It stops before *deadline*, and then hints the next run.

        Raises TryAgain when EC2 or the store could not be read. Failures of single steps are in the outcome,
        because the other tables do not depend on them.
        """
        store, now = self._world.store, self._world.clock.now()
        if not store.acquire_lease(owner, now=now, until=now + self._rules.lease):
            return ReconcileOutcome(busy=True)
        try:
            return _Run(self._world, self._rules, owner, deadline).go()
        except Superseded as error:
            return ReconcileOutcome(busy=True, warnings=[f"overtaken by another run: {error}"])
        finally:
            store.release_lease(owner)


@dataclass(slots=True)
class _Run:
    world: World
    rules: Rules
    owner: str
    deadline: datetime | None
    outcome: ReconcileOutcome = field(default_factory=ReconcileOutcome)

    def go(self) -> ReconcileOutcome:
        """The order of work: what is decided first is written first, as the rest may hang on the answer."""
        world, outcome = self.world, self.outcome
        began = world.clock.now()
        seen = observe(world.cloud, world.store, world.clock, quarantine=self.rules.quarantine)
        if not self._may_go_on(seen):
            return outcome
        taken = take_up(seen, self.rules)
        save_inheritance(world.store, self.owner, taken)
        taken, alarms = self._judge(taken)
        CarryOut(world, self.owner, self.deadline, began, outcome).carry_out(decide_run(taken), alarms)
        return outcome

    def _may_go_on(self, seen: Seen) -> bool:
        """Whether the tables are ours, and the store the one that the cluster lives by."""
        outcome = self.outcome
        claims = seen.claims(self.rules.stack)
        outcome.other_stacks = sorted(claims.others)
        if claims.others:
            outcome.warnings += claims.warnings
            return False
        outcome.warnings += mark_as_ours(self.world.cloud, claims.unmarked, self.rules.stack)
        outcome.checks, refused = clear_checks(self.world.cloud, seen.membership.shown)
        outcome.warnings += refused
        if seen.life.went_back:
            note_seen(outcome, seen)
            outcome.warnings += (*seen.warnings, *seen.life.warnings)
            return False
        return True

    def _judge(self, taken: TakenUp) -> tuple[TakenUp, AlarmsSeen | None]:
        """With the verdicts by what can be observed now, and the alarms that count."""
        alarms, warnings = read_alarms(self.world.alarms, alarms_against(taken.seen.memory.verdicts))
        self.outcome.warnings += warnings
        judged = judge(taken, alarms or AlarmsSeen())
        return taken.judged(keep_verdicts(self.world.store, judged)), alarms
