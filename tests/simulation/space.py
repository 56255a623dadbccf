"""What subnets had and lost, block by block, and which maps named it: for judging who may have it now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from podway.domain.addressing import Prefix
from podway.domain.inventory import ReleasedSpace
from podway.domain.members.maps import SubnetMap
from podway_lab.region.model import StrictEC2

from tests.fakes.store import FakeStore
from tests.simulation.eligibility import Owner
from tests.simulation.facts import Past

UNIT = 26


@dataclass
class Space:
    """Follows the supernets that are written down; *seen* counts what happened to them."""

    region: StrictEC2
    owners: Mapping[str, Owner]
    past: Past
    holds_in_kernel: Callable[[str], int]
    quarantine: timedelta
    owned: dict[str, frozenset[Prefix]] = field(default_factory=dict)
    """Block-sized pieces of the supernets of each subnet."""
    lost: dict[tuple[str, Prefix], datetime] = field(default_factory=dict)
    named: dict[tuple[str, int], tuple[Prefix, ...]] = field(default_factory=dict)
    """What each generation of each subnet's map calls reachable there."""
    leaving: dict[Prefix, ReleasedSpace] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def told(self, subnet_map: SubnetMap) -> None:
        self.named[subnet_map.subnet, subnet_map.generation] = subnet_map.reachable_here

    def look(self, store: FakeStore, now: datetime) -> None:
        """The inventory was written."""
        for subnet, supernets in store.found_supernets.items():
            units = frozenset(unit for one in supernets for unit in _units(one))
            for unit in self.owned.get(subnet, frozenset()) - units:
                self.lost[subnet, unit] = now
            for unit in units - self.owned.get(subnet, frozenset()):
                self.lost.pop((subnet, unit), None)
            self.owned[subnet] = units
        for prefix, one in self.leaving.items():
            if prefix not in store.found_released:
                back = one.gone_at is None or now - one.gone_at < self.quarantine
                self.seen["space was taken back" if back else "space had left"] += 1
        self.seen["space was given back"] += len(store.found_released.keys() - self.leaving.keys())
        self.leaving = dict(store.found_released)

    def leads_to_another(self, block: Prefix, subnet: str, now: datetime) -> str:
        """Why a node of *subnet* may not have the block yet; empty when it may."""
        for (other, unit), lost in self.lost.items():
            if other != subnet and unit.overlaps(block):
                why = self._leads_there(block, other, lost, now)
                if why:
                    return f"{other} lost it at {lost:%H:%M:%S}, and {why}"
                self.seen["space changed hands"] += 1
        return ""

    def _leads_there(self, block: Prefix, subnet: str, lost: datetime, now: datetime) -> str:
        if now - lost < self.quarantine:
            return "it has not rested"
        nodes = {name: one for name, one in self.owners.items() if one.member and one.subnet == subnet}
        for identity, table in self.region.state.tables.items():
            for destination, route in table.routes.items():
                leads = route.target.id in nodes and isinstance(destination, Prefix)
                if leads and destination.overlaps(block):  # type: ignore[union-attr]  # a Prefix: asked above
                    return f"{destination} in {identity} leads to {nodes[route.target.id].instance}"
        for one in nodes.values():
            generation = self.holds_in_kernel(one.instance)
            ran = all(fact.runs for *_, fact in self.past.between(one.instance, lost, now))
            named = self.named.get((subnet, generation), ())
            if ran and any(prefix.overlaps(block) for prefix in named):
                return f"the kernel of {one.instance} holds it, in generation {generation}"
        return ""


def _units(supernet: Prefix) -> Iterator[Prefix]:
    size = 1 << (32 - UNIT)
    for value in range(supernet.value, supernet.value + supernet.size, size):
        yield Prefix(supernet.version, value, UNIT)
