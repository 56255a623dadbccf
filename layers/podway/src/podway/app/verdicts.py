"""Keeps the verdicts true although events get lost, by EC2, alarms and agents' reports.

Called by reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from podway.app.ports import Memory, Store
from podway.domain.health.reassess import AlarmsSeen, Observed, reassess, votes_about
from podway.domain.health.verdict import Verdict, is_spent
from podway.domain.inventory import Instance
from podway.domain.members.cluster import SILENCE


def keep_verdicts(
    instances: Mapping[str, Instance],
    memory: Memory,
    alarms: AlarmsSeen,
    *,
    store: Store,
    now: datetime,
    hold_down: timedelta,
) -> dict[str, Verdict]:
    """The verdicts as they should be by *instances*, what EC2 says of members. Only changes are written.

    A verdict is forgotten if it says nothing any more, or if its node is no member.
    """
    known = instances.keys() | {one.id for one in memory.members}
    verdicts = dict(memory.verdicts)
    for verdict in memory.verdicts.values():
        if is_spent(verdict, now=now) or verdict.instance not in known:
            store.forget_verdict(verdict)
            del verdicts[verdict.instance]
    observations = _observations(memory, instances, alarms, now=now)
    for node in sorted(known & (verdicts.keys() | observations.keys())):
        observed = observations.get(node) or Observed(instances.get(node))
        before = verdicts.get(node) or Verdict(node, _subnet_of(node, memory, instances))
        change = partial(reassess, observed=observed, now=now, hold_down=hold_down)
        if change(before) != before:
            verdicts[node] = store.change_verdict(node, before.subnet, change, seen=before)
    return verdicts


def _observations(
    memory: Memory, instances: Mapping[str, Instance], alarms: AlarmsSeen, *, now: datetime
) -> dict[str, Observed]:
    """What can be observed of the nodes that have a verdict, watchers or an alarm."""
    said = {
        node: (min(report.heartbeat, now), report.suspects)  # by the agent's own clock
        for node, report in memory.reports.items()
        if now - report.heartbeat <= SILENCE
    }
    watched = {node: card.watchers for node, card in memory.cards.items() if card.watchers}
    return {
        node: Observed(
            instances.get(node),
            alarms.about(memory.verdicts.get(node) or Verdict(node, "")),
            alarms.gone,
            watched.get(node, ()),
            votes_about(node, watched.get(node, ()), said),
        )
        for node in sorted(memory.verdicts.keys() | watched.keys() | alarms.watched())
    }


def _subnet_of(node: str, memory: Memory, instances: Mapping[str, Instance]) -> str:
    if node in instances:
        return instances[node].subnet
    return next((one.subnet for one in memory.members if one.id == node), "")
