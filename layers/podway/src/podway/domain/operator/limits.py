"""How near the limits are, before anything fails: what cannot be given up, against what there is.

Reconcile asks once a run, for its warnings and metrics. In a table foreign routes, one route for every
supernet and the reserve count; direct routes do not, since they fill a table on purpose and give way. In a
pod CIDR all blocks count, also the quarantined ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.model import Cluster
from podway.domain.routing import NOBODYS, Facts, TableFacts

WARN, ALERT = 0.80, 0.95
"""Shares of a limit."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """A limit, and the share of it that is taken for good."""

    what: str
    share: float

    @property
    def is_alarming(self) -> bool:
        """At 95 % and more."""
        return self.share >= ALERT

    @property
    def warning(self) -> str:
        """What to say of it; empty below 80 %."""
        if self.share < WARN:
            return ""
        return f"{self.what}: {self.share:.0%} of what it can hold is taken for good"


def pressures(cluster: Cluster, held: Iterable[Prefix]) -> tuple[Pressure, ...]:
    """Every route table and every pod CIDR; *held* are all blocks, also the quarantined."""
    families = {cidr.version: Facts(cluster, cidr.version) for cidr in cluster.pod_cidrs}
    tables = (
        Pressure(table.id, max(_taken(TableFacts(table, facts)) for facts in families.values()))
        for table in cluster.route_tables
    )
    blocks = tuple(held)
    space = (
        Pressure(str(cidr), sum(_size(block) for block in blocks if cidr.contains(block)) / _size(cidr))
        for cidr in cluster.pod_cidrs
    )
    return (*tables, *space)


def _taken(seen: TableFacts) -> float:
    table = seen.table
    least = sum(subnet != NOBODYS for _, subnet in seen.facts.supernets) + table.reserve
    return (table.quota - seen.slots + least) / table.quota if table.quota else 1.0


def _size(prefix: Prefix) -> int:
    return 1 << (WIDTH[prefix.version] - prefix.length)
