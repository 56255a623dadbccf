"""A hitless order of the changes within the quota, as short as the number of differing entries.

Routes that cover each other form a unit (a widest prefix and all below it). Inside supernets of one
subnet a unit with one spare slot can always be changed without a hole, touching every differing
entry once; shrinking units go first and growing ones last (Johnson's rule), so the table never
holds more than it must. Only where subnets interleave can this get stuck: then see ``detour``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Create, RouteTable, Step
from podway.domain.routing import Facts, TableFacts
from podway.domain.transition.board import Board, board


def transition(
    cluster: Cluster,
    table: RouteTable,
    desired: Mapping[Prefix, str],
    *,
    families: Sequence[Facts] | None = None,
) -> tuple[Step, ...]:
    """The steps that turn the table's managed routes into *desired* (destination to interface).

    Replacements that heal come first, of all families: a failover is waiting for them. No step
    exceeds the quota; none opens a hole unless no order without one was found (``verify_transition``
    names the holes of the least harmful one). *families*: facts derived before, if there are any.
    """
    healing: list[Step] = []
    rest: list[Step] = []
    if families is None:
        versions = {prefix.version for prefix in (*desired, *cluster.pod_cidrs)}
        families = [Facts(cluster, version) for version in sorted(versions)]
    for facts in families:
        wanted = {prefix: target for prefix, target in desired.items() if prefix.version == facts.version}
        steps, healed = ordered(TableFacts(table, facts), wanted)
        healing += steps[:healed]
        rest += steps[healed:]
    return (*healing, *rest)


def ordered(facts: TableFacts, desired: Mapping[Prefix, str]) -> tuple[list[Step], int]:
    """The steps for one family, and how many at their start heal by replacement alone."""
    if not facts.managed:
        wide_first = sorted(desired, key=lambda prefix: (prefix.length, prefix))
        creates = [Create(prefix, desired[prefix]) for prefix in wide_first if prefix not in facts.foreign]
        return [*creates[: facts.slots]], 0
    state = board(facts, desired)
    goal = [desired.get(prefix) for prefix in state.prefixes]
    pending = {
        at
        for at, prefix in enumerate(state.prefixes)
        if goal[at] != state.target[at] and prefix not in facts.foreign
    }
    change = _Change(state, goal, pending)
    change.heal()
    healed = len(state.steps)
    change.cover()
    change.run()
    return state.steps, healed


@dataclass(slots=True)
class _Change:
    state: Board
    goal: list[str | None]
    pending: set[int]

    def _do(self, at: int) -> None:
        self.state.set(at, self.goal[at])
        self.pending.discard(at)

    def _safe(self, at: int) -> bool:
        return not self.state.effect(at, self.goal[at])[1]

    def _fits(self, at: int) -> bool:
        return self.goal[at] is None or self.state.target[at] is not None or self.state.room > 0

    def heal(self) -> None:
        """Replacements that bring blocks back, heaviest first."""
        gains = {}
        for at in self.pending:
            if self.goal[at] is not None and self.state.target[at] is not None:
                gained, lost = self.state.effect(at, self.goal[at])
                if gained and not lost:
                    gains[at] = gained
        for at in sorted(gains, key=lambda at: (-gains[at], at)):
            self._do(at)

    def cover(self) -> None:
        """Creations that bring blocks back, wide ones first, while there is room."""
        for at in sorted(self.pending):
            if self.goal[at] is not None and self.state.target[at] is None and self.state.room > 0:
                gained, lost = self.state.effect(at, self.goal[at])
                if gained and not lost:
                    self._do(at)

    def run(self) -> None:
        """Everything else, unit by unit; again while a round gets further; then by force."""
        while self.pending:
            before = len(self.pending)
            for unit in self._units():
                self._work(unit)
            if len(self.pending) == before:
                self._force()

    def _units(self) -> list[list[int]]:
        """Pending entries by widest prefix: shrinking units by what they need at most, then growing ones."""
        units: dict[int, list[int]] = {}
        for at in sorted(self.pending):
            root = at
            here = self.state.parent[at]
            while here >= 0:
                if self.state.target[here] is not None or self.goal[here] is not None:
                    root = here
                here = self.state.parent[here]
            units.setdefault(root, []).append(at)
        return sorted(units.values(), key=self._johnson)

    def _johnson(self, unit: list[int]) -> tuple[bool, int, int]:
        creates = sum(1 for at in unit if self.state.target[at] is None)
        deletes = sum(1 for at in unit if self.goal[at] is None)
        growing = creates > deletes
        return growing, -deletes if growing else creates, unit[0]

    def _work(self, unit: Iterable[int]) -> None:
        """What is safe in the unit: replacements, then creations while there is room, else a deletion."""
        todo = list(unit)
        while todo:
            done = self._round(todo)
            if not done:
                return
            todo = [at for at in todo if at in self.pending]

    def _round(self, todo: list[int]) -> bool:
        progress = False
        for at in todo:
            if self.goal[at] is not None and self._fits(at) and self._safe(at):
                self._do(at)
                progress = True
        if progress and self.state.room > 0:
            return True
        for at in reversed(todo):
            if self.goal[at] is None and self._safe(at):
                self._do(at)
                progress = True
                if not self.state.room - 1:
                    return True
        return progress

    def _force(self) -> None:
        """The change that loses the least weight, though it opens a hole: no safe one is left."""
        fitting = [at for at in self.pending if self._fits(at)]
        if not fitting:
            self.pending.clear()
            return
        harm = {at: self.state.effect(at, self.goal[at])[1] for at in fitting}
        self._do(min(fitting, key=lambda at: (harm[at], at)))
