"""Reacts to a node's life: it appears, it is asked to hand over, its agent reports.

Called by the lifecycle function. Almost everything here becomes a hint for reconcile. Two things do not
wait for it: letting a new node's packets through, and moving routes off a node that will die.
"""

from __future__ import annotations

from dataclasses import dataclass

from podway.app.errors import PodwayError, TargetIsGone
from podway.app.failover import Failover
from podway.app.outcome import FailoverOutcome
from podway.app.ports import ClaimAnswer, Clock, Cloud, Hints, Hooks
from podway.app.stores import LifecycleStore
from podway.domain.health.reassess import HANDOVER
from podway.domain.health.verdict import Evidence, Severity
from podway.domain.model import StayReason
from podway.domain.signals import (
    AgentReported,
    HandoverAsked,
    InstanceState,
    Launched,
    LifecycleHook,
    Signal,
    StateChanged,
)


@dataclass(frozen=True, slots=True)
class Welcome:
    """What was done for an instance that appeared."""

    member: bool
    """Whether it is a member that still exists."""
    check_cleared: bool


class Lifecycle:
    """Reactions to planned events."""

    def __init__(
        self,
        *,
        cloud: Cloud,
        store: LifecycleStore,
        failover: Failover,
        hints: Hints,
        hooks: Hooks,
        clock: Clock,
    ) -> None:
        self._cloud, self._store, self._failover = cloud, store, failover
        self._hints, self._hooks, self._clock = hints, hooks, clock

    def react(self, signal: Signal) -> tuple[FailoverOutcome, ...]:
        """Do what *signal* asks for. Returns an outcome for every node that hands over."""
        match signal:
            case StateChanged(state=InstanceState.RUNNING):
                self.welcome(signal.instance)
            case Launched():
                self.launched(signal)
            case HandoverAsked():
                return self.hand_over(signal)
            case AgentReported():
                self.hint(signal)
        return ()

    def welcome(self, instance: str) -> Welcome:
        """Let a member's packets through, and hint reconcile to give it blocks. A stranger costs one read."""
        member = self._cloud.member(instance)
        if member is None:
            return Welcome(member=False, check_cleared=False)
        if member.source_dest_check and member.network_interface:
            try:
                self._cloud.clear_source_dest_check(member.network_interface)
            except TargetIsGone:
                return Welcome(member=False, check_cleared=False)  # it is gone already
        self._hints.hint(f"{instance} runs")
        return Welcome(member=True, check_cleared=member.source_dest_check)

    def hint(self, report: AgentReported) -> None:
        """Hint reconcile, if what an agent reports should not wait for the next minute's run.

        Suspicions give no hint: the failover function handles them. Acknowledgements give one only if the
        node's card says that somebody waits: a large subnet acknowledges each new map a thousand times.
        """
        news = set(report.causes) - {"suspicion"}
        if news == {"acknowledged"}:
            card = self._store.card(report.instance)
            if card is not None and not card.is_awaited:
                return
        if news:
            self._hints.hint(f"{report.instance} reported: {', '.join(sorted(news))}")

    def launched(self, launch: Launched) -> Welcome:
        """Welcome an instance that a launch hook holds, then complete the hook."""
        welcome = self.welcome(launch.hook.instance)
        self._complete(launch.hook, member=welcome.member)
        return welcome

    def hand_over(self, asked: HandoverAsked) -> tuple[FailoverOutcome, ...]:
        """Move relayed routes off nodes before they go. Their direct routes stay while they live."""
        source = f"{HANDOVER}{asked.reason}"
        if asked.is_over:
            for instance in asked.instances:
                self._failover.withdraw(instance, source, as_of=asked.at)
            return ()
        evidence = Evidence(source, Severity.HANDOVER, asked.at)
        if asked.hook is None:
            return self._failover.fail_over_all(asked.instances, evidence, event=asked.event_id)
        try:
            outcomes = self._failover.fail_over_all(asked.instances, evidence, event=asked.event_id)
        except PodwayError:
            self._put_off(asked.hook)
            raise
        self._answer(asked.hook, outcomes)
        return outcomes

    def _answer(self, hook: LifecycleHook, outcomes: tuple[FailoverOutcome, ...]) -> None:
        """Complete the hook if no route relays through the node any more, else put its termination off.

        A node without a card relays nothing: it leaves before a run of reconcile has seen it.
        """
        if all(outcome.answer is ClaimAnswer.NOT_A_MEMBER for outcome in outcomes):
            self._complete(hook, member=self._cloud.member(hook.instance) is not None)
        elif all(_is_relieved(outcome) for outcome in outcomes):
            self._complete(hook, member=True)
        else:
            self._put_off(hook)

    def _put_off(self, hook: LifecycleHook) -> None:
        """Keep the hook and extend it once. Reconcile extends it until the node relays nothing."""
        if self._cloud.member(hook.instance) is None:
            return  # another group's hook belongs to somebody else's automation
        self._store.keep_hook(hook, now=self._clock.now())
        self._hooks.extend(hook)

    def _complete(self, hook: LifecycleHook, *, member: bool) -> None:
        if member:  # another group's hook belongs to somebody else's automation
            self._hooks.complete(hook)


def _is_relieved(outcome: FailoverOutcome) -> bool:
    """Whether every route of the card has moved, now or through an earlier event."""
    stays = sum(count for why, count in outcome.stayed.items() if why is not StayReason.MOVED_ALREADY)
    return outcome.answer is not ClaimAnswer.TAKEN and not stays
