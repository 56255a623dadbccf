"""Which tables must lead where, and since when: the checker asks what a run could have known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from podway_lab.region.model import StrictEC2

from tests.simulation.eligibility import STALE, Owner


@dataclass
class Steering:
    """What the route tables steer, and when that changed last."""

    region: StrictEC2
    owners: Mapping[str, Owner]
    changed: dict[str, datetime] = field(default_factory=dict)
    """When a table last began or ceased to steer something, or to be the cluster's."""

    def must_cover(self, table: str, subnet: str, since: datetime | None) -> bool:
        """Neighbours have host routes: a table of the node's own subnet alone need not know it."""
        steered = self.region.state.subnets_of(table)
        return self.is_settled(table, since) and steered not in ((subnet,), ())

    def is_settled(self, table: str, since: datetime | None) -> bool:
        """Whether it is the cluster's, and steers what it steered when a run looked that began then."""
        at = self.changed.get(table)
        if at is not None and since is not None and at >= since - STALE:
            return False
        found = self.region.state.tables.get(table)
        steered = self.region.state.subnets_of(table)
        return found is not None and (
            "podway:cluster" in found.tags or not self._homes(since).isdisjoint(steered)
        )

    def _homes(self, since: datetime | None) -> set[str]:
        """Subnets with members that were there when a run looked that began then, and are."""
        there = self.region.state.instances
        return {
            owner.subnet
            for owner in self.owners.values()
            if owner.member
            and (one := there.get(owner.instance)) is not None
            and one.state != "terminated"
            and (since is None or one.launched < since - STALE)
        }

    def is_tagged(self, table: str, since: datetime) -> bool:
        """Whether it carries the cluster's tag, or may have seemed to: else the roles may not write there."""
        at = self.changed.get(table)
        tags = self.region.state.tables[table].tags
        return "podway:cluster" in tags or (at is not None and at >= since - STALE)
