"""What a node's verdict should be by what can be read now, whichever events came or got lost.

Reconcile asks once a run, for each member with a verdict, with watchers or with an alarm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podway.domain.health.alarms import ALARM
from podway.domain.health.quorum import Vote, recount
from podway.domain.health.verdict import (
    EC2_STATE,
    Evidence,
    Severity,
    Verdict,
    accuse,
    cut_ahead,
    drop,
    withdraw,
)
from podway.domain.inventory import Instance
from podway.domain.signals import AlarmValue, HandoverReason, InstanceState

HANDOVER = "handover:"
"""What the source of a planned hand-over begins with; its reason follows."""
DRAINED = f"{HANDOVER}{HandoverReason.DRAIN}"
"""Source of a drain's evidence: only ``undrain`` withdraws it."""


@dataclass(frozen=True, slots=True)
class AlarmSeen:
    """An alarm that counts as it stands, and since when.

    ``instances`` are those whose metrics it looks at. An alarm with contributors names none: its state says
    nothing about any one of them, but that none fails when it is OK.
    """

    name: str
    value: AlarmValue
    at: datetime
    instances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlarmsSeen:
    """The alarms that count: *ours* by instance, *others* by name, and which names were asked for in vain."""

    ours: Mapping[str, AlarmSeen] = field(default_factory=dict)
    others: Mapping[str, AlarmSeen] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    """Those that do not exist, or that do not count."""

    def about(self, verdict: Verdict) -> tuple[AlarmSeen, ...]:
        """The node's own alarm, others that look at it, and others that are evidence against it."""
        own = (self.ours[verdict.instance],) if verdict.instance in self.ours else ()
        others = (
            one
            for name, one in sorted(self.others.items())
            if verdict.instance in one.instances or ALARM + name in verdict.evidence
        )
        return (*own, *others)

    def watched(self) -> frozenset[str]:
        """The instances that any of them looks at."""
        return frozenset(self.ours).union(*(one.instances for one in self.others.values()))


@dataclass(frozen=True, slots=True)
class Observed:
    """What a run of reconcile observes of one node."""

    instance: Instance | None
    alarms: tuple[AlarmSeen, ...] = ()
    gone_alarms: frozenset[str] = frozenset()
    """Names of alarms that are evidence, and that do not exist or do not count any more."""
    watchers: tuple[str, ...] = ()
    votes: Mapping[str, Vote] = field(default_factory=dict)
    """By watcher; the silent have none."""


def reassess(verdict: Verdict, observed: Observed, *, now: datetime, hold_down: timedelta) -> Verdict:
    """The verdict without the evidence that is over, and with what no event has told."""
    verdict = cut_ahead(verdict, now=now)
    after = _by_ec2(verdict, observed.instance, now=now, hold_down=hold_down)
    for source in verdict.evidence:
        if source.startswith(ALARM) and source.removeprefix(ALARM) in observed.gone_alarms:
            after = drop(after, source, now=now, hold_down=hold_down)
    for seen in observed.alarms:
        after = _by_alarm(after, seen, now=now, hold_down=hold_down)
    return recount(after, observed.votes, watchers=observed.watchers, now=now, hold_down=hold_down)


def votes_about(
    node: str, watchers: Collection[str], said: Mapping[str, tuple[datetime, Collection[str]]]
) -> dict[str, Vote]:
    """The votes of *watchers* on *node*; *said* holds when each one wrote, and whom it suspects."""
    return {one: Vote(said[one][0], node in said[one][1]) for one in watchers if one in said}


def _by_ec2(verdict: Verdict, instance: Instance | None, *, now: datetime, hold_down: timedelta) -> Verdict:
    """Withdraws EC2's evidence from an instance that runs, and hand-overs from one started after them.

    EC2's reads may be stale just after an event. So evidence younger than the hold-down stays, unless the
    instance was started after it.
    """
    if instance is None or instance.state is not InstanceState.RUNNING:
        return verdict
    started, after = instance.launched, verdict
    evidence = verdict.evidence.get(EC2_STATE)
    if evidence is not None:
        as_of = max(now - hold_down, started) if started else now - hold_down
        after = withdraw(after, EC2_STATE, as_of=as_of, now=now, hold_down=hold_down)
    for source, one in verdict.evidence.items():
        if source.startswith(HANDOVER) and source != DRAINED and started and one.at < started:
            after = withdraw(after, source, as_of=started, now=now, hold_down=hold_down)
    return after


def _by_alarm(verdict: Verdict, seen: AlarmSeen, *, now: datetime, hold_down: timedelta) -> Verdict:
    """What the alarm says now; without data it says nothing."""
    source = ALARM + seen.name
    if seen.value is AlarmValue.OK:
        return withdraw(verdict, source, as_of=seen.at, now=now, hold_down=hold_down)
    if seen.value is not AlarmValue.ALARM or source in verdict.evidence:
        return verdict
    if verdict.instance not in seen.instances:
        return verdict
    return accuse(verdict, Evidence(source, Severity.INDIRECT, seen.at))
