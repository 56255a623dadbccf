"""Evidence becomes a verdict, with hysteresis.

Failover, lifecycle and the operator add evidence, reconcile reassesses it; failover and the planner's facts
follow from the verdict. Evidence has a source, and only that source withdraws it. When the last evidence is
withdrawn, the node is held down for a while that doubles with each flap: one that comes and goes must not
take routes with it each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from podway.domain.model import Health

EC2_STATE = "ec2-state"
"""Source of the evidence that an instance's state gives. Reconcile withdraws it when EC2 says otherwise."""

LONGEST_HOLD_DOWN = timedelta(minutes=30)
MOST_DOUBLINGS = 11
"""Of a hold-down: a second is longer than the longest by then, and no number of flaps overflows."""


class Severity(IntEnum):
    """How sure evidence is; a more severe reason takes a claim over from a lesser one."""

    SUSPICION = 0
    """One vote of a watcher. Nothing follows before enough of them agree (``health.quorum``)."""
    HANDOVER = 1
    """The node lives, but should relay no more (drain, Spot notice, maintenance)."""
    INDIRECT = 2
    """Somebody measured that it fails: an alarm, its peers."""
    DEFINITIVE = 3
    """EC2 says that it does not run."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason not to trust a node. *source* names who may withdraw it, as ``alarm:NAME``."""

    source: str
    severity: Severity
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All evidence against a node and what it amounts to.

    ``flaps`` counts how often the node fell; ``held_until`` ends the hold-down that begins when the last
    evidence is withdrawn. ``withdrawn`` holds, by source, up to when its evidence is withdrawn: events come
    late and doubled.
    """

    instance: str
    subnet: str
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    flaps: int = 0
    held_until: datetime | None = None
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    revision: int = field(default=0, compare=False)
    """The store's count of its changes; 0 for one that is not stored."""

    def severity(self) -> Severity | None:
        """The gravest evidence, or None."""
        return max((item.severity for item in self.evidence.values()), default=None)


def accuse(verdict: Verdict, evidence: Evidence) -> Verdict:
    """The verdict with *evidence* added; the first failing evidence counts as a flap.

    Nothing changes when its source has said something later, or withdrew it.
    """
    if is_outdated(verdict, evidence):
        return verdict
    failing_before = is_failing(verdict)
    fell = not failing_before and evidence.severity > Severity.HANDOVER
    return replace(
        verdict,
        evidence={**verdict.evidence, evidence.source: evidence},
        flaps=verdict.flaps + fell,
        held_until=None if evidence.severity > Severity.HANDOVER else verdict.held_until,
    )


def is_outdated(verdict: Verdict, evidence: Evidence) -> bool:
    """Whether the same source has said something later, or withdrew this."""
    said, withdrawn = verdict.evidence.get(evidence.source), verdict.withdrawn.get(evidence.source)
    return (said is not None and evidence.at < said.at) or (
        withdrawn is not None and evidence.at <= withdrawn
    )


def cut_ahead(verdict: Verdict, *, now: datetime) -> Verdict:
    """The verdict with nothing that lies ahead of what it can be: said later than *now*, or held for longer.

    Somebody's clock was ahead. Nobody else could withdraw such evidence until then, or accuse anew.
    """
    held, latest = verdict.held_until, now + LONGEST_HOLD_DOWN
    return replace(
        verdict,
        evidence={name: replace(one, at=min(one.at, now)) for name, one in verdict.evidence.items()},
        withdrawn={name: min(at, now) for name, at in verdict.withdrawn.items()},
        held_until=None if held is None else min(held, latest),
    )


def withdraw(
    verdict: Verdict, source: str, *, as_of: datetime, now: datetime, hold_down: timedelta
) -> Verdict:
    """The verdict without what *source* said until *as_of*; the last failing one starts the hold-down."""
    said = verdict.evidence.get(source)
    if said is None or said.at > as_of:
        return verdict
    after = drop(verdict, source, now=now, hold_down=hold_down)
    return replace(after, withdrawn={**verdict.withdrawn, source: as_of})


def drop(verdict: Verdict, source: str, *, now: datetime, hold_down: timedelta) -> Verdict:
    """The verdict without the evidence of a *source* that is no more; the last one starts the hold-down.

    Unlike `withdraw` it remembers nothing of the source: if that shows again, what it says counts.
    """
    left = {name: item for name, item in verdict.evidence.items() if name != source}
    after = replace(verdict, evidence=left)
    if is_failing(verdict) and not is_failing(after):
        doublings = min(max(verdict.flaps - 1, 0), MOST_DOUBLINGS)
        pause = min(hold_down * 2**doublings, LONGEST_HOLD_DOWN)
        return replace(after, held_until=now + pause)
    return after


def is_failing(verdict: Verdict) -> bool:
    """Whether there is evidence of failure (a planned hand-over is none)."""
    return any(item.severity > Severity.HANDOVER for item in verdict.evidence.values())


def is_failing_indirectly(verdict: Verdict) -> bool:
    """Whether it fails, and only by what somebody measured."""
    severity = verdict.severity()
    return is_failing(verdict) and severity is Severity.INDIRECT


def health(verdict: Verdict | None, *, now: datetime) -> Health:
    """Failed if EC2 says so; suspect if somebody measured it, and while the hold-down lasts.

    A suspect relays for nobody, but keeps what leads to its own blocks: the measurement may be wrong.
    """
    if verdict is None:
        return Health.HEALTHY
    if verdict.severity() is Severity.DEFINITIVE:
        return Health.FAILED
    held = verdict.held_until is not None and now < verdict.held_until
    return Health.SUSPECT if is_failing(verdict) or held else Health.HEALTHY


def is_handing_over(verdict: Verdict | None) -> bool:
    """Whether relayed routes should leave the node although it works."""
    return verdict is not None and any(
        item.severity is Severity.HANDOVER for item in verdict.evidence.values()
    )


def is_accused(verdict: Verdict | None) -> bool:
    """Whether there is evidence that counts: a vote alone does not."""
    return verdict is not None and any(
        item.severity > Severity.SUSPICION for item in verdict.evidence.values()
    )


def is_spent(verdict: Verdict, *, now: datetime) -> bool:
    """Whether nothing is left to remember: no evidence, and a quiet time as long as the longest hold-down."""
    lately = [*verdict.withdrawn.values(), *([verdict.held_until] if verdict.held_until else [])]
    return not verdict.evidence and all(now - at > LONGEST_HOLD_DOWN for at in lately)


def is_frozen(subnet_size: int, verdicts: Iterable[Verdict], subnet: str) -> bool:
    """Whether so much of a subnet fails by indirect evidence that the monitor is the likelier fault.

    True at more than half of the subnet's nodes; definitive EC2 states do not count (invariant I6).
    """
    failing = sum(verdict.subnet == subnet and is_failing_indirectly(verdict) for verdict in verdicts)
    return 2 * failing > subnet_size


def is_cluster_frozen(cluster_size: int, verdicts: Iterable[Verdict]) -> bool:
    """The same for the whole cluster: a broken monitor need not stop at a subnet's border."""
    return 2 * sum(map(is_failing_indirectly, verdicts)) > cluster_size > 0
