"""What reconcile keeps beside routes: source/dest checks, alarms, and hooks that still wait.

A refused call is one node's trouble and comes out as a warning; nothing else depends on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from podway.app.errors import PodwayError
from podway.app.ports import Alarms, Cloud, Hooks, PendingHook, Store
from podway.domain.health.reassess import AlarmSeen
from podway.domain.inventory import Instance
from podway.domain.signals import InstanceState

CHECKS_PER_RUN = 50
"""EC2 allows 100 ModifyNetworkInterfaceAttribute at once and 5 a second; functions that greet need some."""
ALARMS_PER_RUN = 20
"""CloudWatch allows three PutMetricAlarm a second (its default quota)."""
HOOK_PATIENCE = timedelta(minutes=30)
"""How long a death is put off for a node whose routes nobody can take over."""


def clear_checks(cloud: Cloud, instances: Iterable[Instance]) -> tuple[list[str], list[str]]:
    """Let the packets of members through; the nodes that were helped, and warnings.

    No call where EC2 says that the check is off already; what is beyond the limit is left to the next run.
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


def see_alarms(alarms: Alarms) -> tuple[Mapping[str, AlarmSeen] | None, list[str]]:
    """Our alarms as they stand; None when CloudWatch does not say, and then none is made or removed."""
    try:
        return alarms.seen(), []
    except PodwayError as error:
        return None, [f"alarms cannot be read: {error}"]


def keep_alarms(alarms: Alarms, *, wanted: Collection[str], seen: Collection[str]) -> list[str]:
    """Alarms for those who should have one, and for nobody else; warnings."""
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
            warnings.append(f"{len(spare)} alarms are left: {error}")
    return warnings


def keep_hooks(
    hooks: Hooks,
    store: Store,
    pending: Mapping[str, PendingHook],
    *,
    alive: Collection[str],
    relaying: Collection[str],
    now: datetime,
) -> list[str]:
    """Complete the hooks of nodes that relay nothing any more, and beg time for the others; warnings."""
    warnings = []
    for node, waiting in sorted(pending.items()):
        late = now - waiting.since > HOOK_PATIENCE
        try:
            if node in alive and node in relaying and not late:
                hooks.extend(waiting.hook)
                continue
            if node in alive:
                hooks.complete(waiting.hook)
            store.drop_hook(node)
        except PodwayError as error:
            warnings.append(f"the hook of {node}: {error}")
            continue
        if late and node in alive and node in relaying:
            warnings.append(f"{node} goes although nobody takes over what it relays")
    return warnings
