"""A hitless order of the changes within the quota, as short as the number of differing entries.

``plan`` asks for every table. Routes that cover each other form a unit (a widest prefix and all below it).
Inside supernets of one subnet a unit with one spare slot can always be changed without a hole, and each
differing entry is touched once. Shrinking units go first and growing ones last (Johnson's rule), so the
table never holds more than it must. Only where subnets interleave this can get stuck: then see ``detour``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.domain.model import Cluster, Create, RouteTable, Step
from podway.domain.routing import Facts, TableFacts
from podway.domain.transition.board import FOREIGN, Board, board
from podway.domain.transition.detour import branches, detour


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
        return _from_nothing(facts, desired), 0
    state = board(facts, desired)
    goal = [desired.get(prefix) for prefix in state.prefixes]
    pending = {
        at
        for at, prefix in enumerate(state.prefixes)
        if goal[at] != state.target[at] and prefix not in facts.foreign
    }
    change = _Change(state, goal, pending)
    change.heal()
    healed = list(state.steps)
    start = _routes(state)
    change.cover()
    while not change.run():
        for steps, present in ((healed, start), (state.steps, _routes(state))):
            way = _around(facts, desired, present)
            if way is not None:
                return [*steps, *way], len(healed)
        change.force()
    return state.steps, len(healed)


def _from_nothing(facts: TableFacts, desired: Mapping[Prefix, str]) -> list[Step]:
    """Wide routes first, so that most is reachable soonest; narrow ones first where that could harm.

    It could where routes of different subnets nest, or below a next hop that may only carry its own.
    """
    relays = zip(facts.facts.nodes, facts.facts.may_relay, strict=True)
    subnet = {node.network_interface: node.subnet for node, may in relays if may}
    stack: list[Prefix] = []
    narrow_first = False
    for prefix in sorted(desired):
        while stack and not stack[-1].contains(prefix):
            stack.pop()
        if stack:
            around = subnet.get(desired[stack[-1]])
            narrow_first |= around is None or around != subnet.get(desired[prefix], around)
        stack.append(prefix)
    order = sorted(desired, key=lambda prefix: (-prefix.length if narrow_first else prefix.length, prefix))
    creates: list[Step] = [Create(prefix, desired[prefix]) for prefix in order if prefix not in facts.foreign]
    return creates[: facts.slots]


def _routes(state: Board) -> dict[Prefix, str]:
    """Our routes on the board."""
    return {prefix: target for prefix, target in zip(state.prefixes, state.target, strict=True) if target}


def _around(
    facts: TableFacts, desired: Mapping[Prefix, str], present: Mapping[Prefix, str]
) -> list[Step] | None:
    """The way from *present* by temporaries; None if there is none, or too much to search."""
    small = board(facts, desired, present=present)
    wide = board(facts, desired, present=present, extra=set(branches(small.prefixes)))
    goal = [
        FOREIGN if target == FOREIGN else desired.get(prefix)
        for prefix, target in zip(wide.prefixes, wide.target, strict=True)
    ]
    moves = detour(wide, goal)
    for at, target in moves or ():
        wide.set(at, target)
    return None if moves is None else wide.steps


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
        """Replacements that bring blocks back, heaviest first; one that misleads others waits for theirs."""
        gains = {}
        for at in self.pending:
            target = self.goal[at]
            if target is not None and self.state.target[at] is not None:
                gained, lost = self.state.effect(at, target)
                if gained and not lost and not self.state.misleads(at, target):
                    gains[at] = gained
        for at in sorted(gains, key=lambda at: (-gains[at], at)):
            self._do(at)

    def cover(self) -> None:
        """Creations that bring blocks back, wide ones first, while there is room.

        A next hop that may carry its own blocks only gets its wide route after the narrow ones below.
        """
        for patient in (True, False):
            for at in sorted(self.pending):
                target = self.goal[at]
                if target is None or self.state.target[at] is not None or self.state.room < 1:
                    continue
                gained, lost = self.state.effect(at, target)
                if gained and not lost and not (patient and self.state.misleads(at, target)):
                    self._do(at)

    def run(self) -> bool:
        """Everything else, unit by unit, again while a round gets further; whether all is done."""
        while self.pending:
            before = len(self.pending)
            for unit in self._units():
                self._work(unit)
            if len(self.pending) == before:
                return False
        return True

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

    def force(self) -> None:
        """The change that loses the least weight, though it opens a hole: no safe one is left."""
        fitting = [at for at in self.pending if self._fits(at)]
        if not fitting:
            self.pending.clear()
            return
        harm = {at: self.state.effect(at, self.goal[at])[1] for at in fitting}
        self._do(min(fitting, key=lambda at: (harm[at], at)))
