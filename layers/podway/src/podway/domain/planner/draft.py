"""The routes of one table and address family while they are being decided. ``plan`` makes one of each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import nsmallest
from itertools import islice

from podway.domain.addressing import Prefix
from podway.domain.model import Hole, PlannedRoute, RouteKind, counted
from podway.domain.planner.anchor import anchored, would_catch
from podway.domain.planner.assign import Assignment, assign, direct_weight, relayed_blocks
from podway.domain.planner.exact import SMALL
from podway.domain.planner.fresh import Choice, fresh_choice
from podway.domain.planner.next_hops import SLACK, Loads, Part, part_of
from podway.domain.planner.problem import TableProblem
from podway.domain.planner.stable import stable_choice
from podway.domain.routing import Block, TableFacts

HYSTERESIS = 1.25
"""A stable plan may load the busiest next hop this much more than the best plan would."""


@dataclass(slots=True)
class Allowance:
    """Steps that a stable plan may still spend on improving one table, over all its families."""

    left: int | None = None
    """None: as many as the budget has room for."""

    def spend(self, steps: int) -> None:
        """Count *steps* as spent."""
        if self.left is not None:
            self.left -= steps


class Draft:
    """Destinations, then next hops, then the budget that is left; :meth:`make` once."""

    def __init__(self, view: TableFacts, loads: Loads, *, fresh: bool, small: int = SMALL) -> None:
        self.view = view
        self.table = TableProblem(view)
        self.loads = loads
        self.fresh = fresh
        self.small = small
        self.limit = 0.0
        """The least load limit that fits the budget."""
        self.routes: list[PlannedRoute] = []
        self.holes: list[Hole] = []
        self.warnings: list[str] = []
        self.direct = 0.0
        self.total = 0.0

    def make(self, allowance: Allowance) -> None:
        """Decide everything, and spend of *allowance* what improves more than it must."""
        best = fresh_choice(self.table, small=self.small)
        self.limit = best.limit
        done = self._assigned(best)
        self._fill(done, allowance)
        self._add_anchors(done, allowance)
        self._describe(done)
        self._account(done)

    def _assigned(self, best: Choice) -> Assignment:
        if not self.fresh:
            least = self._reached(best)
            allowed = max(HYSTERESIS * least, least + self._one_block())
            stable = stable_choice(self.table, best, allowed, small=self.small)
            if stable is not None:
                routes = anchored(self.table, stable, kept=self.table.present)
                return assign(self.table, routes, self.loads, limit=allowed, present=self.table.present)
        kept = {} if self.fresh else self.table.present
        routes = anchored(self.table, best.routes, kept=kept)
        return assign(self.table, routes, self.loads, limit=best.limit, present=kept)

    def _reached(self, best: Choice) -> float:
        """The busiest load of the best plan: above its limit where one node must take several parts."""
        if self.table.even is not None:
            return best.limit
        elsewhere = self.loads.elsewhere
        fresh = assign(self.table, best.routes, Loads({}, elsewhere), limit=best.limit, present={})
        return max(best.limit, fresh.worst)

    def _one_block(self) -> float:
        """The heaviest block on the smallest eligible node."""
        return self.view.counted[2] / self.table.least_capacity

    # -- what is left of the budget ---------------------------------------------------------------

    def _room(self, done: Assignment, allowance: Allowance) -> int:
        """Routes that may be added: a fresh plan has no present table from which each would be a step."""
        room = self.view.budget - len(done.hops)
        return room if allowance.left is None or self.fresh else min(room, allowance.left)

    def _fill(self, done: Assignment, allowance: Allowance) -> None:
        """Direct routes for the heaviest blocks that are relayed, those in the biggest parts first."""
        room = self._room(done, allowance)
        if room <= 0:
            return
        chosen = self._worth_most(done, room)
        for block, prefix in chosen:
            self._split(done, block, prefix)
        allowance.spend(len(chosen))

    def _worth_most(self, done: Assignment, room: int) -> list[tuple[Block, Prefix]]:
        """The heaviest relayed blocks and the routes that catch them."""
        weight = {prefix: part.weight for prefix, part in done.parts.items()}
        count, total, heaviest = self.view.counted
        waiting: Iterator[tuple[Block, Prefix]]
        if count * heaviest <= total + SLACK:
            # All weigh the same: blocks of the biggest parts will do, and most need not be looked at.
            some = sorted(done.parts, key=lambda prefix: (-weight[prefix], prefix))
            waiting = islice(relayed_blocks(done, some), room + len(self.view.foreign) + len(done.hops))
        else:
            waiting = relayed_blocks(done, done.parts)
        free = (
            (-block.weight, -weight[prefix], block, prefix)
            for block, prefix in waiting
            if block.prefix not in done.hops and block.prefix not in self.view.foreign
        )
        return [(block, prefix) for _, _, block, prefix in nsmallest(room, free)]

    def _split(self, done: Assignment, block: Block, prefix: Prefix) -> None:
        """Give the block a route of its own, out of the part behind *prefix*."""
        old = done.parts[prefix]
        here = done.chooser.loads.here
        hop = done.hops[prefix]
        capacity = self.view.facts.nodes[hop].capacity
        here[hop] = max(0.0, here.get(hop, 0.0) - block.weight / capacity)
        if here[hop] < SLACK:
            here[hop] = 0.0
        rest = [other for other in old.blocks if other is not block]
        done.parts[prefix] = part_of(prefix, old.subnet, rest, counted=True)
        done.parts[block.prefix] = part_of(block.prefix, old.subnet, [block], counted=True)
        done.hops[block.prefix] = block.node

    def _add_anchors(self, done: Assignment, allowance: Allowance) -> None:
        """Anchors that no block needs yet: of empty supernets first, of the table's own subnet last."""
        own = self.view.own_subnet
        facts = self.view.facts
        missing = [
            (prefix, subnet)
            for prefix, subnet in facts.supernets
            if prefix not in done.hops and prefix not in self.view.foreign and facts.forwarders.get(subnet)
        ]
        missing = [pair for pair in missing if pair[1] == own or not self._holds_required_blocks(pair[0])]
        missing.sort(key=lambda pair: (pair[1] == own, -pair[0].length, pair[0]))
        chosen = missing[: max(0, self._room(done, allowance))]
        for prefix, subnet in chosen:
            self._add_anchor(done, prefix, subnet)
        allowance.spend(len(chosen))

    @cached_property
    def _crowded(self) -> bool:
        """Whether supernets or blocks of other subnets may lie inside supernets."""
        return self.table.even is None

    def _holds_required_blocks(self, supernet: Prefix) -> bool:
        """Whether required blocks lie in the supernet: then the plan has decided on its anchor."""
        facts = self.view.facts
        end = Prefix(supernet.version, supernet.last, facts.width)
        inside = facts.blocks[
            bisect_left(facts.blocks, (supernet,)) : bisect_right(facts.blocks, (end, len(facts.nodes)))
        ]
        return any(
            facts.nodes[block.node].subnet != self.view.own_subnet and block.prefix not in self.view.foreign
            for block in inside
        )

    def _add_anchor(self, done: Assignment, prefix: Prefix, subnet: str) -> None:
        inside = [
            block
            for block in done.missed
            if prefix.contains(block.prefix)
            and self.view.facts.nodes[block.node].subnet == subnet
            and not any(prefix.contains(o) and o.contains(block.prefix) for o in self.view.foreign)
        ]
        under = [other for other in (*done.hops, *self.view.foreign) if prefix.contains(other)]
        if self._crowded and would_catch(self.table, prefix, self.table.colour[subnet], under):
            return
        part = part_of(prefix, subnet, inside, counted=subnet != self.view.own_subnet)
        hop = done.chooser.choose(part)
        if hop is None:
            return
        done.parts[prefix] = part
        done.hops[prefix] = hop
        done.chooser.add(part, hop)
        taken = {block.prefix for block in inside}
        done.missed = [block for block in done.missed if block.prefix not in taken]

    # -- the account --------------------------------------------------------------------------------

    def _describe(self, done: Assignment) -> None:
        nodes = self.view.facts.nodes
        present = self.view.targets
        for prefix in sorted(done.hops):
            hop = done.hops[prefix]
            part = done.parts[prefix]
            node = nodes[hop]
            self.routes.append(
                PlannedRoute(
                    destination=prefix,
                    next_hop=node.id,
                    network_interface=node.network_interface,
                    kind=RouteKind.DIRECT if part.blocks and part.sole == hop else RouteKind.AGGREGATED,
                    standbys=done.chooser.standbys(part, hop),
                    reason=_reason(part, hop, kept=present.get(prefix) == hop),
                )
            )

    def _account(self, done: Assignment) -> None:
        facts = self.view.facts
        own = self.view.own_subnet
        self.direct = direct_weight(done)
        self.total = self.view.counted[1]
        self._warn_of_captors()
        without_anchor: set[str] = set()
        for block in sorted(done.missed, key=lambda block: block.prefix):
            node = facts.nodes[block.node]
            reason = self._why(block)
            if node.subnet == own:
                if own not in without_anchor:
                    self.warnings.append(f"no anchor for the table's own subnet {own}: {reason}")
                without_anchor.add(node.subnet)
                continue
            self.holes.append(Hole(block.prefix, reason))
            self.warnings.append(f"{block.prefix} of {node.id} is a hole: {reason}")

    def _warn_of_captors(self) -> None:
        """Foreign routes inside blocks."""
        blocks = self.view.facts.blocks
        for foreign, route in sorted(self.view.foreign.items()):
            before = bisect_left(blocks, (foreign,)) - 1  # blocks are disjoint: no other can hold it
            if before >= 0 and blocks[before].prefix.contains(foreign):
                self.warnings.append(
                    f"foreign route {foreign} to {route.target} takes a part of {blocks[before].prefix}"
                )

    def _why(self, block: Block) -> str:
        foreign = max(
            (other for other in self.view.foreign if other.contains(block.prefix)),
            key=lambda other: other.length,
            default=None,
        )
        if foreign is not None:
            return f"foreign route {foreign} to {self.view.foreign[foreign].target} captures it"
        return f"a budget of {counted(self.view.budget, 'managed route')} is too small"


def _reason(part: Part, hop: int, *, kept: bool) -> str:
    count = len(part.blocks)
    if not count:
        what = f"keeps the space of {part.subnet} reachable before it is used"
    elif part.sole == hop:
        what = "straight to its node"
    else:
        own = "one of them its own" if hop in part.own else "none its own"
        what = f"{counted(count, 'block')} of {part.subnet}, {own}"
    return f"{what}; next hop kept" if kept else what
