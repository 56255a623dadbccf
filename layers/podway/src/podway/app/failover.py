"""The fast path: one node fails, or will; the routes on its card move.

Called by the failover function, by lifecycle for planned hand-overs (with a lesser severity), and by the
operator. From event to last ReplaceRoute there are two waves of calls:
(1) claim the card, read the verdicts, and read the route tables;
(2) make all replacements, heaviest first, and store the evidence.
EC2 has no conditional write. So (2) replaces only what still points at the failed node in (1). A standby that
turns out to be gone costs one more wave, and so does a table that EC2's list leaves out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from podway.app.errors import (
    PodwayError,
    RouteIsGone,
    Superseded,
    TableIsGone,
    TargetIsGone,
    TryAgain,
)
from podway.app.outcome import FailoverOutcome, Unfinished, all_done, failover_history
from podway.app.ports import ClaimAnswer, Clock, Cloud, Hints, Parallel
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import CLAIM_LASTS, Card, CardRoute, Claim, Move, decide
from podway.domain.failover.pacing import RESERVED_CALLS, starts
from podway.domain.health.alarms import ALARM
from podway.domain.health.quorum import PEERS, add_vote, withdraw_vote
from podway.domain.health.verdict import (
    EC2_STATE,
    Evidence,
    Severity,
    Verdict,
    accuse,
    cut_ahead,
    is_accused,
    is_outdated,
    withdraw,
)
from podway.domain.model import RouteTable, StayReason, counted
from podway.domain.signals import GONE, AgentReported, AlarmChanged, AlarmValue, Signal, StateChanged

if TYPE_CHECKING:  # a cold start must not pay for it
    from podway.app.stores import FailoverStore

ROUNDS = 3
"""How often a move is tried when standbys turn out to be gone or failed too."""

MOST_NAMED = 64
"""Nodes that one report may name. A watcher has a handful of them, and each costs a read."""

LONGEST_WAIT = timedelta(seconds=15)
"""How long a call may wait for its turn: half of what the function may run."""

UNDONE = (StayReason.NOBODY, StayReason.FROZEN, StayReason.CLUSTER_FROZEN)
"""Why a route stays that leads to the node still."""

Change = Callable[[Verdict], Verdict]
"""What becomes of a verdict."""
Targets = dict[tuple[str, Prefix], str]
"""The target of each route, by table and destination."""


class Failover:
    """Moves the relayed routes of one node."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        store: FailoverStore,
        hints: Hints,
        clock: Clock,
        parallel: Parallel,
        hold_down: timedelta,
        new_claimant: Callable[[], str] = lambda: os.urandom(8).hex(),
    ) -> None:
        self._new_claimant = new_claimant
        self._cloud, self._store, self._hints = cloud, store, hints
        self._clock, self._parallel, self._hold_down = clock, parallel, hold_down

    def react(self, signal: Signal) -> tuple[FailoverOutcome, ...]:
        """Do what *signal* asks for. Returns an outcome for every node that failed by it.

        All instances of an alarm are handled before the first error is raised.
        """
        match signal:
            case StateChanged() if signal.state in GONE:
                evidence = Evidence(EC2_STATE, Severity.DEFINITIVE, signal.at, signal.state.value)
                return self.fail_over_all((signal.instance,), evidence, event=signal.event_id)
            case AlarmChanged(value=AlarmValue.ALARM):
                evidence = Evidence(ALARM + signal.alarm, Severity.INDIRECT, signal.at)
                return self.fail_over_all(signal.instances, evidence, event=signal.event_id)
            case AlarmChanged(value=AlarmValue.OK):
                for instance in signal.instances:
                    self.withdraw(instance, ALARM + signal.alarm, as_of=signal.at)
            case AgentReported() if signal.suspects or signal.cleared:
                return self.count_votes(signal)
        return ()

    def fail_over_all(
        self, instances: Iterable[str], evidence: Evidence, *, event: str
    ) -> tuple[FailoverOutcome, ...]:
        """Fail over several nodes. One node's error is raised after the others were handled."""
        outcomes: list[FailoverOutcome] = []
        errors: list[PodwayError] = []
        for instance in instances:
            try:
                outcomes.append(self.fail_over(instance, evidence, event=event))
            except PodwayError as error:
                errors.append(error)
        return all_done(outcomes, errors)

    def count_votes(self, report: AgentReported) -> tuple[FailoverOutcome, ...]:
        """Count an agent's votes about the nodes that it was told to watch. A quorum of votes is evidence."""
        cards = {
            node: self._parallel.start(partial(self._store.card, node))
            for node in (*report.suspects, *report.cleared)[:MOST_NAMED]
        }
        verdicts = self._parallel.start(self._store.verdicts)
        outcomes: list[FailoverOutcome] = []
        errors: list[PodwayError] = []
        for found in cards.values():
            try:
                card = found.result()
                if card is not None and report.instance in card.watchers:
                    outcomes += self._count_vote(
                        report, card, verdicts.result(), fresh=not (outcomes or errors)
                    )
            except PodwayError as error:
                errors.append(error)
        return all_done(outcomes, errors)

    def _count_vote(
        self, report: AgentReported, card: Card, verdicts: Mapping[str, Verdict], *, fresh: bool
    ) -> list[FailoverOutcome]:
        """Count one vote about one node, and fail the node over if that makes a quorum.

        The failover decides by *verdicts*, which saves a read, if they are *fresh*. They are not if this run
        has changed one since they were read: the freeze rule counts every node that fails.
        """
        now, node = self._clock.now(), card.node
        change = self._vote(report, card, now)
        seen = verdicts.get(node) or Verdict(node, card.subnet)
        if PEERS not in change(seen).evidence:  # no quorum: keep the vote
            after = self._store.change_verdict(node, card.subnet, change, seen=seen)
            if PEERS in seen.evidence:
                self._hints.hint(f"its watchers no longer suspect {node}")
            if PEERS not in after.evidence:
                return []
            fresh = False
        evidence = Evidence(PEERS, Severity.INDIRECT, now)
        outcome = self.fail_over(
            node,
            evidence,
            event=report.event_id,
            change=change,
            verdicts=verdicts if fresh else None,
            claimant=report.event_id,  # a stream repeats a record at once, and never side by side
        )
        outcome.waves += 1  # the cards and verdicts that told whether it is due
        return [outcome]

    def _vote(self, report: AgentReported, card: Card, now: datetime) -> Change:
        peer, watchers, at = report.instance, card.watchers, min(report.at, now)
        if card.node in report.suspects:
            return lambda one: add_vote(one, peer, at=at, watchers=watchers, now=now)
        return lambda one: withdraw_vote(
            one, peer, as_of=at, watchers=watchers, now=now, hold_down=self._hold_down
        )

    def fail_over(
        self,
        instance: str,
        evidence: Evidence,
        *,
        event: str,
        depth: int = 1,
        change: Change | None = None,
        verdicts: Mapping[str, Verdict] | None = None,
        claimant: str = "",
    ) -> FailoverOutcome:
        """Move what relays through *instance*, store the evidence, hint reconcile.

        *change* is what becomes of its verdict: by default, *evidence* is added, as of now if it lies ahead.
        Pass *verdicts* if you have just read them all; it saves one read.
        Raises TryAgain when the card could not be claimed, or a route not moved, just now, or when another
        delivery of the event acts on the card. The event's retry goes on where this stopped.
        """
        now = self._clock.now()
        evidence = replace(evidence, at=min(evidence.at, now))
        change = _cut_first(change or partial(accuse, evidence=evidence), now)
        claim = Claim(event, evidence.severity, now + CLAIM_LASTS, claimant=claimant or self._new_claimant())
        try:
            return self._act(instance, evidence, claim, depth=depth, change=change, verdicts=verdicts)
        except PodwayError:
            self._leave(instance, claim)
            raise

    def _leave(self, instance: str, claim: Claim) -> None:
        """Let the event's retry go on at once. If the store does not answer, after the claim has expired."""
        with contextlib.suppress(PodwayError):
            self._store.leave_claim(instance, claim)

    def _act(
        self,
        instance: str,
        evidence: Evidence,
        claim: Claim,
        *,
        depth: int,
        change: Change,
        verdicts: Mapping[str, Verdict] | None,
    ) -> FailoverOutcome:
        now, event = self._clock.now(), claim.event
        claimed = self._parallel.start(lambda: self._store.claim_card(instance, claim, now=now))
        reading = self._parallel.start(self._store.verdicts) if verdicts is None else None
        tables = self._parallel.start(self._cloud.route_tables)
        answer, card = claimed.result()
        outcome = FailoverOutcome(answer)
        if card is None:
            return outcome  # no member: nothing is stored, reconcile is not hinted
        if answer is not ClaimAnswer.CLAIMED:
            self._store.change_verdict(card.node, card.subnet, change)
            if answer is ClaimAnswer.TAKEN and card.claim is not None and card.claim.event == event:
                raise TryAgain(f"another delivery of {event} acts on {instance}")
            return outcome
        known = reading.result() if reading is not None else verdicts or {}
        before = known.get(card.node) or Verdict(card.node, card.subnet)
        outdated = is_outdated(cut_ahead(before, now=now), evidence)
        storing = self._parallel.start(
            lambda: self._store.change_verdict(card.node, card.subnet, change, seen=before)
        )
        if outdated:
            outcome.stayed[StayReason.OUTDATED] += len(card.routes)
        else:
            known = {**known, card.node: change(before)}
            shown = self._see_all(outcome, card, tables.result())
            self._move_all(outcome, card, evidence.severity, shown, known.values())
        errors = self._record(outcome, card, evidence, event)
        storing.result()
        if errors:
            calls = TryAgain(f"{counted(len(errors), 'call')} of the failover of {instance}")
            raise Unfinished([calls], [outcome]) from errors[0]
        try:
            self._follow_up(outcome, card, evidence, claim, depth)
        except TryAgain as error:
            raise Unfinished([error], [outcome]) from error
        return outcome

    def withdraw(self, instance: str, source: str, *, as_of: datetime) -> bool:
        """Withdraw the evidence of *source* against *instance* until *as_of*. False if there is none."""
        verdict = self._store.verdicts().get(instance)
        if verdict is None or source not in verdict.evidence:
            return False
        now = self._clock.now()
        until = min(as_of, now)
        change: Change = partial(withdraw, source=source, as_of=until, now=now, hold_down=self._hold_down)
        self._store.change_verdict(instance, verdict.subnet, _cut_first(change, now))
        self._hints.hint(f"{source} no longer speaks against {instance}")
        return True

    def _see_all(
        self, outcome: FailoverOutcome, card: Card, shown: tuple[RouteTable, ...]
    ) -> tuple[RouteTable, ...]:
        """The tables that EC2 has *shown*, and those of the card that its list leaves out, asked by id."""
        missing = {route.table for route in card.routes} - {table.id for table in shown}
        if not missing:
            return shown
        outcome.waves += 1
        try:
            return (*shown, *self._cloud.look_again(missing))
        except PodwayError:
            return shown

    def _move_all(
        self,
        outcome: FailoverOutcome,
        card: Card,
        severity: Severity,
        tables: Collection[RouteTable],
        verdicts: Collection[Verdict],
    ) -> None:
        targets = _targets(tables)
        unseen = {route.table for route in card.routes} - {table.id for table in tables}
        outcome.heirs = {
            standby.node
            for route in card.routes
            for standby in route.standbys
            if targets.get((route.table, route.destination)) == standby.network_interface
        }
        refused: set[str] = set()
        pending = card
        for _ in range(ROUNDS):
            now = self._clock.now()
            decision = decide(
                pending,
                severity,
                targets=targets,
                verdicts=verdicts,
                now=now,
                refused=refused,
                unseen=unseen,
            )
            outcome.stayed.update(one.why for one in decision.unmoved)
            pending = replace(card, routes=())
            if not decision.moves:
                break
            outcome.waves += 1
            outcome.calls += len(decision.moves)
            again = self._replace(outcome, decision.moves)
            refused |= {move.standby.network_interface for move in again}
            pending = replace(card, routes=tuple(move.route for move in again))
        if pending.routes:
            outcome.stayed[StayReason.NOBODY] += len(pending.routes)

    def _replace(self, outcome: FailoverOutcome, moves: tuple[Move, ...]) -> list[Move]:
        """Make one wave of replacements. Returns those whose new target does not exist.

        The first RESERVE of them, the heaviest, go out at once and are debited afterwards: reconcile leaves
        that many to failovers. The others wait for their turn in EC2's limit, or are left to a retry if that
        is more than LONGEST_WAIT away.
        """
        under_way = [
            (move, self._parallel.start(partial(self._apply, move))) for move in moves[:RESERVED_CALLS]
        ]
        if len(moves) > RESERVED_CALLS:
            due = zip(moves[RESERVED_CALLS:], self._debit(len(moves))[RESERVED_CALLS:], strict=True)
            under_way += [(move, self._parallel.start(partial(self._apply_at, move, at))) for move, at in due]
        again = self._collect(outcome, under_way)
        if len(moves) <= RESERVED_CALLS:
            self._debit(len(moves))
        return again

    @staticmethod
    def _collect(outcome: FailoverOutcome, under_way: Iterable[tuple[Move, Future[None]]]) -> list[Move]:
        """Note what became of the replacements. Returns those whose new target does not exist."""
        again = []
        for move, future in under_way:
            try:
                future.result()
            except TargetIsGone:
                again.append(move)
            except (RouteIsGone, TableIsGone):
                outcome.stayed[StayReason.MOVED_ALREADY] += 1
            except PodwayError as error:
                outcome.failed.append((move, error))
            else:
                outcome.moved.append(move)
        return again

    def _debit(self, count: int) -> tuple[datetime, ...]:
        """When each call may be made. Now, if the store does not answer: EC2 refuses too many."""
        now = self._clock.now()
        try:
            return starts(self._store.take_tokens("ReplaceRoute", count, now=now), count)
        except PodwayError:
            return (now,) * count

    def _apply(self, move: Move) -> None:
        self._cloud.apply(move.route.table, move.step)

    def _apply_at(self, move: Move, at: datetime) -> None:
        wait = at - self._clock.now()
        if wait > LONGEST_WAIT:
            raise TryAgain("EC2's burst is used up")
        if wait > timedelta(0):
            self._clock.sleep(wait.total_seconds())
        self._apply(move)

    def _record(
        self, outcome: FailoverOutcome, card: Card, evidence: Evidence, event: str
    ) -> list[PodwayError]:
        """Write the new next hops' cards and the history, and hint reconcile. Returns all errors so far."""
        errors = [error for _, error in outcome.failed]
        if outcome.stayed[StayReason.UNSEEN]:
            errors.append(TryAgain("EC2 does not show a table in which a route may lead there"))
        taken: dict[str, list[CardRoute]] = {}
        for move in outcome.moved:
            rest = tuple(one for one in move.route.standbys if one != move.standby)
            taken.setdefault(move.standby.node, []).append(replace(move.route, standbys=rest))
        steps = [partial(self._extend_card, node, routes) for node, routes in sorted(taken.items())]
        entries = failover_history(outcome, card, evidence, event, at=self._clock.now())
        steps.append(partial(self._store.add_history, entries))
        steps.append(partial(self._hints.hint, f"failover of {card.node}: {evidence.source}"))
        for step in steps:
            try:
                step()
            except PodwayError as error:
                errors.append(error)
        return errors

    def _extend_card(self, node: str, routes: list[CardRoute]) -> None:
        try:
            self._store.extend_card(node, routes)
        except Superseded:
            return  # it is no member any more: the run that the hint starts replaces it

    def _follow_up(
        self, outcome: FailoverOutcome, card: Card, evidence: Evidence, claim: Claim, depth: int
    ) -> None:
        """Fail over next hops that failed meanwhile, then close the claim if nothing is left to move.

        Their own events saw cards without these routes, so no other failover moves them. Those that an
        earlier delivery has moved count as well.
        """
        event, claimant = claim.event, claim.claimant
        if outcome.stayed[StayReason.OUTDATED]:
            self._leave(
                card.node, replace(claim, expires=self._clock.now())
            )  # nothing moved: anybody may act
            return
        heirs = {move.standby.node for move in outcome.moved} | outcome.heirs
        if depth < ROUNDS:
            verdicts = self._store.verdicts() if heirs else {}
            for node in sorted(heirs):
                if is_accused(verdicts.get(node)):
                    worst = max(verdicts[node].evidence.values(), key=lambda one: one.severity)
                    self.fail_over(node, worst, event=f"{event}+{node}", depth=depth + 1, claimant=claimant)
        if any(outcome.stayed[why] for why in UNDONE):
            return  # the claim stays open: a graver event may try at once, any other after it expires
        if not self._store.finish_card(card) and depth < ROUNDS:  # it was given routes while we moved its own
            self.fail_over(card.node, evidence, event=event, depth=depth + 1, claimant=claimant)


def _cut_first(change: Change, now: datetime) -> Change:
    """*change* of a verdict without what lies ahead of *now*."""
    return lambda one: change(cut_ahead(one, now=now))


def _targets(tables: Iterable[RouteTable]) -> Targets:
    return {
        (table.id, route.destination): route.target
        for table in tables
        for route in table.routes
        if isinstance(route.destination, Prefix)
    }
