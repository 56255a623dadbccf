"""What reconcile keeps beside routes: source/dest checks, alarms, and hooks that still wait.

Called by reconcile only. A refused call concerns one node, so it becomes a warning and ends nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from podway.app.errors import PodwayError
from podway.app.ports import Alarms, Cloud, Hooks
from podway.app.stores import HookStore
from podway.domain.health.reassess import AlarmsSeen
from podway.domain.inventory import Instance
from podway.domain.model import counted
from podway.domain.run.hooks import HookMove
from podway.domain.signals import InstanceState

CHECKS_PER_RUN = 50
"""Half of the 100 ModifyNetworkInterfaceAttribute that EC2 allows at once (then 5 a second).

The lifecycle function needs the rest for new nodes.
"""
ALARMS_PER_RUN = 20
"""CloudWatch allows three PutMetricAlarm a second (its default quota)."""


def clear_checks(cloud: Cloud, instances: Iterable[Instance]) -> tuple[list[str], list[str]]:
    """Switch off the members' source/dest checks. Returns the nodes where it was done, and warnings.

    No call is made where EC2 shows the check off. Nodes beyond CHECKS_PER_RUN are left to the next run.
    """
    closed = [
        one
        for one in instances
        if one.source_dest_check
        and one.network_interface
        and one.state in (InstanceState.PENDING, InstanceState.RUNNING)
    ]
    cleared: list[str] = []
    warnings: list[str] = []
    for instance in closed[:CHECKS_PER_RUN]:
        try:
            cloud.clear_source_dest_check(instance.network_interface)
        except PodwayError as error:
            warnings.append(f"source/dest check of {instance.id} stays on: {error}")
        else:
            cleared.append(instance.id)
    return cleared, warnings


def read_alarms(alarms: Alarms, asked: Collection[str]) -> tuple[AlarmsSeen | None, list[str]]:
    """The alarms that count, those *asked* for by name too, and warnings.

    None if CloudWatch fails: then none is made or removed, and no evidence of one is dropped.
    """
    try:
        return alarms.seen(asked), []
    except PodwayError as error:
        return None, [f"alarms cannot be read: {error}"]


def keep_alarms(alarms: Alarms, *, wanted: Collection[str], seen: Collection[str]) -> list[str]:
    """Make alarms for *wanted* nodes that have none, and remove all others. Returns warnings."""
    warnings = []
    missing, spare = sorted(set(wanted) - set(seen)), sorted(set(seen) - set(wanted))
    for node in missing[:ALARMS_PER_RUN]:
        try:
            alarms.watch(node)
        except PodwayError as error:
            warnings.append(f"{node} has no alarm: {error}")
    if spare:
        try:
            alarms.forget(spare)
        except PodwayError as error:
            warnings.append(f"not removed: {counted(len(spare), 'alarm')}: {error}")
    return warnings


def keep_hooks(hooks: Hooks, store: HookStore, moves: Iterable[HookMove]) -> list[str]:
    """Complete or extend hooks as decided. Returns warnings."""
    warnings = []
    for move in moves:
        hook = move.hook
        try:
            if move.is_extended:
                hooks.extend(hook)
                continue
            if move.is_completed:
                hooks.complete(hook)
            store.drop_hook(hook.instance)
        except PodwayError as error:
            warnings.append(f"the hook of {hook.instance}: {error}")
        else:
            warnings += [move.warning] if move.warning else []
    return warnings
