"""Which nodes have an alarm of ours: cost follows forwarders, not nodes.

Reconcile asks once a run; the CloudWatch adapter takes the names from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from podway.domain.health.verdict import Verdict


def prefix_of(cluster: str) -> str:
    """What the names of a cluster's alarms begin with; a cluster's name holds no slash."""
    return f"podway/{cluster}/"


def alarm_name(cluster: str, instance: str) -> str:
    """The name says whose alarm it is, to a process that remembers nothing."""
    return prefix_of(cluster) + instance


def wanted_alarms(
    cluster: str, forwarders: Collection[str], present: Collection[str], verdicts: Mapping[str, Verdict]
) -> frozenset[str]:
    """Present forwarders, and present nodes against which their alarm is evidence, until it is OK."""
    held = {
        node for node, verdict in verdicts.items() if f"alarm:{alarm_name(cluster, node)}" in verdict.evidence
    }
    return frozenset((held | set(forwarders)) & set(present))
