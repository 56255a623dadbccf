"""The verdicts as they should be by all that a run sees: EC2's states, alarms, and the agents' votes.

The second decision of a run. `app.verdicts` writes it; a status foresees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from podway.domain.health.reassess import AlarmsSeen, Observed, reassess, votes_about
from podway.domain.health.verdict import Verdict, is_spent
from podway.domain.members.cluster import is_heard
from podway.domain.run.inheritance import TakenUp
from podway.domain.run.seen import Seen


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """A verdict as it was read, and how to change it, also if somebody has changed it since."""

    before: Verdict
    change: Callable[[Verdict], Verdict]


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts that stay as they are, those to forget, and those to change."""

    unchanged: dict[str, Verdict]
    spent: tuple[Verdict, ...]
    changes: tuple[VerdictChange, ...]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """All of them afterwards, if nobody else writes one meanwhile."""
        return self.unchanged | {one.before.instance: one.change(one.before) for one in self.changes}


def judge(taken: TakenUp, alarms: AlarmsSeen) -> Judged:
    """What becomes of each verdict.

    A verdict is forgotten if it says nothing any more, or if its node is no member.
    """
    seen, now = taken.seen, taken.seen.at
    memory, instances = seen.memory, seen.membership.instances
    known = instances.keys() | {one.id for one in memory.members}
    spent = [one for one in memory.verdicts.values() if is_spent(one, now=now) or one.instance not in known]
    over = {one.instance for one in spent}
    kept = {node: one for node, one in memory.verdicts.items() if one.instance not in over}
    observations = _observations(seen, alarms)
    changes = []
    for node in sorted(known & (kept.keys() | observations.keys())):
        observed = observations.get(node) or Observed(instances.get(node))
        before = kept.get(node) or Verdict(node, _subnet_of(node, seen))
        change = partial(reassess, observed=observed, now=now, hold_down=taken.rules.hold_down)
        if change(before) != before:
            changes.append(VerdictChange(before, change))
    changed = {one.before.instance for one in changes}
    unchanged = {node: one for node, one in kept.items() if node not in changed}
    return Judged(unchanged, tuple(spent), tuple(changes))


def _observations(seen: Seen, alarms: AlarmsSeen) -> dict[str, Observed]:
    """What can be observed of the nodes that have a verdict, watchers or an alarm."""
    memory, now = seen.memory, seen.at
    said = {
        node: (min(report.heartbeat, now), report.suspects)  # by the agent's own clock
        for node, report in memory.reports.items()
        if is_heard(report.heartbeat, now=now)
    }
    watched = {node: card.watchers for node, card in memory.cards.items() if card.watchers}
    return {
        node: Observed(
            seen.membership.instances.get(node),
            alarms.about(memory.verdicts.get(node) or Verdict(node, "")),
            alarms.gone,
            watched.get(node, ()),
            votes_about(node, watched.get(node, ()), said),
        )
        for node in sorted(memory.verdicts.keys() | watched.keys() | alarms.watched())
    }


def _subnet_of(node: str, seen: Seen) -> str:
    if node in seen.membership.instances:
        return seen.membership.instances[node].subnet
    return next((one.subnet for one in seen.memory.members if one.id == node), "")
