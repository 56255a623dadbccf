"""What happens around a node's life: it appears, it is asked to hand over, it reports.

Called by the lifecycle function. Everything here is a hint for reconcile, but for two things that
should not wait: letting a new node's packets through, and moving routes off a node that will die.
"""

from __future__ import annotations

from dataclasses import dataclass

from podway.app.errors import TargetIsGone
from podway.app.failover import Failover, Outcome
from podway.app.ports import ClaimAnswer, Cloud, Hints, Hooks
from podway.domain.health import Evidence, Severity
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

    def __init__(self, *, cloud: Cloud, failover: Failover, hints: Hints, hooks: Hooks) -> None:
        self._cloud, self._failover, self._hints, self._hooks = cloud, failover, hints, hooks

    def react(self, signal: Signal) -> tuple[Outcome, ...]:
        """What *signal* asks for; an outcome for every node that hands over."""
        match signal:
            case StateChanged(state=InstanceState.RUNNING):
                self.welcome(signal.instance)
            case Launched():
                self.launched(signal)
            case HandoverAsked():
                return self.hand_over(signal)
            case AgentReported():
                self._hints.hint(f"{signal.instance} reported: {signal.cause}")
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

    def launched(self, launch: Launched) -> Welcome:
        """Welcome an instance that a launch hook holds, then let its group go on."""
        welcome = self.welcome(launch.hook.instance)
        self._complete(launch.hook, member=welcome.member)
        return welcome

    def hand_over(self, asked: HandoverAsked) -> tuple[Outcome, ...]:
        """Move relayed routes off nodes before they go; direct routes stay while the nodes live."""
        evidence = Evidence(f"handover:{asked.reason}", Severity.HANDOVER, asked.at)
        outcomes = self._failover.fail_over_all(asked.instances, evidence, event=asked.event_id)
        if asked.hook is not None:
            carded = any(outcome.answer is not ClaimAnswer.NOT_A_MEMBER for outcome in outcomes)
            # a node that leaves before reconcile has met it has no card yet
            self._complete(asked.hook, member=carded or self._cloud.member(asked.hook.instance) is not None)
        return outcomes

    def _complete(self, hook: LifecycleHook, *, member: bool) -> None:
        if member:  # another group's hook belongs to somebody else's automation
            self._hooks.complete(hook)
