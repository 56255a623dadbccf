"""Which nodes have an alarm of ours, and which alarms are evidence: those, and the operator's.

Reconcile asks for the first once a run. The CloudWatch adapter takes the names from here. `wire.events` asks
for the second with each alarm event: an account has alarms of everybody, and "disk 80 % full" has the
dimension InstanceId too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from podway.domain.health.verdict import Verdict

ALARM = "alarm:"
"""What the source of an alarm's evidence begins with; the alarm's name follows."""


def prefix_of(cluster: str) -> str:
    """What the names of a cluster's alarms begin with; a cluster's name holds no slash."""
    return f"podway/{cluster}/"


def alarm_name(cluster: str, instance: str) -> str:
    """The name says whose alarm it is, to a process that remembers nothing."""
    return prefix_of(cluster) + instance


def fleet_alarm(cluster: str) -> str:
    """The stack's own alarm over all instances: not with `prefix_of`, since reconcile would remove it."""
    return f"podway-fleet/{cluster}"


@dataclass(frozen=True, slots=True)
class AlarmNames:
    """By its name, whether an alarm is evidence; *operators* is the operator's prefix, empty for none."""

    cluster: str
    operators: str = ""

    def count(self, name: str) -> bool:
        """Whether it is an alarm of ours, the fleet's, or one that begins with the operator's prefix."""
        if name.startswith(prefix_of(self.cluster)) or name == fleet_alarm(self.cluster):
            return True
        return bool(self.operators) and name.startswith(self.operators)


def alarms_against(verdicts: Mapping[str, Verdict]) -> frozenset[str]:
    """The names of all alarms that are evidence against somebody."""
    sources = (source for verdict in verdicts.values() for source in verdict.evidence)
    return frozenset(source.removeprefix(ALARM) for source in sources if source.startswith(ALARM))


def wanted_alarms(
    cluster: str, forwarders: Collection[str], present: Collection[str], verdicts: Mapping[str, Verdict]
) -> frozenset[str]:
    """Present forwarders, and present nodes against which their alarm is evidence, until it is OK."""
    held = {
        node for node, verdict in verdicts.items() if ALARM + alarm_name(cluster, node) in verdict.evidence
    }
    return frozenset((held | set(forwarders)) & set(present))
