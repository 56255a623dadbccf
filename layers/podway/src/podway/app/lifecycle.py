"""What happens around a node's life: it appears, it is asked to hand over, it reports.

Called by the lifecycle function. Everything here is a hint for reconcile, but for two things that
should not wait: letting a new node's packets through, and moving routes off a node that will die.
"""

from __future__ import annotations

from dataclasses import dataclass

from podway.app.errors import PodwayError, TargetIsGone
from podway.app.failover import Failover
from podway.app.outcome import FailoverOutcome
from podway.app.ports import ClaimAnswer, Clock, Cloud, Hints, Hooks, Store
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
    check_cleared: bool


class Lifecycle:
    """Reactions to planned events."""

    def __init__(
        self, *, cloud: Cloud, store: Store, failover: Failover, hints: Hints, hooks: Hooks, clock: Clock
    ) -> None:
        self._cloud, self._store, self._failover = cloud, store, failover
        self._hints, self._hooks, self._clock = hints, hooks, clock

    def react(self, signal: Signal) -> tuple[FailoverOutcome, ...]:
        """What *signal* asks for; an outcome for every node that hands over."""
        match signal:
            case StateChanged(state=InstanceState.RUNNING):
                self.welcome(signal.instance)
            case Launched():
                self.launched(signal)
            case HandoverAsked():
                return self.hand_over(signal)
            case AgentReported():
                self.hear(signal)
        return ()

    def welcome(self, instance: str) -> Welcome:
        """Let the packets of a member through and have it allocated; others cost one read."""
        member = self._cloud.member(instance)
        if member is None:
            return Welcome(member=False, check_cleared=False)
        if member.source_dest_check and member.network_interface:
            try:
                self._cloud.clear_source_dest_check(member.network_interface)
            except TargetIsGone:
                return Welcome(member=False, check_cleared=False)  # gone before we could greet it
        self._hints.hint(f"{instance} runs")
        return Welcome(member=True, check_cleared=member.source_dest_check)

    def hear(self, report: AgentReported) -> None:
        """Hint reconcile of what it should not wait a minute for.

        A new map of a large subnet is acknowledged a thousand times, and few of these are awaited.
        Suspicions are the failover function's to hear.
        """
        if report.cause == "suspicion":
            return
        if report.cause == "acknowledged":
            card = self._store.card(report.instance)
            if card is not None and not card.is_awaited:
                return
        self._hints.hint(f"{report.instance} reported: {report.cause}")

    def launched(self, launch: Launched) -> Welcome:
        """Welcome an instance that a launch hook holds, then let its group go on."""
        welcome = self.welcome(launch.hook.instance)
        self._complete(launch.hook, member=welcome.member)
        return welcome

    def hand_over(self, asked: HandoverAsked) -> tuple[FailoverOutcome, ...]:
        """Move relayed routes off nodes before they go; direct routes stay while the nodes live."""
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
        """Complete the hook if nothing relays through the node any more, else have its death put off.

        A node that leaves before reconcile has met it has no card yet, and relays nothing.
        """
        if all(outcome.answer is ClaimAnswer.NOT_A_MEMBER for outcome in outcomes):
            self._complete(hook, member=self._cloud.member(hook.instance) is not None)
        elif all(_is_relieved(outcome) for outcome in outcomes):
            self._complete(hook, member=True)
        else:
            self._put_off(hook)

    def _put_off(self, hook: LifecycleHook) -> None:
        """Reconcile begs for more time until the node relays nothing, and then lets it go."""
        if self._cloud.member(hook.instance) is None:
            return  # another group's hook belongs to somebody else's automation
        self._store.keep_hook(hook, now=self._clock.now())
        self._hooks.extend(hook)

    def _complete(self, hook: LifecycleHook, *, member: bool) -> None:
        if member:  # another group's hook belongs to somebody else's automation
            self._hooks.complete(hook)


def _is_relieved(outcome: FailoverOutcome) -> bool:
    """Whether all that was on the card has moved, now or by another event before."""
    stays = sum(count for why, count in outcome.stayed.items() if why is not StayReason.MOVED_ALREADY)
    return outcome.answer is not ClaimAnswer.TAKEN and not stays
