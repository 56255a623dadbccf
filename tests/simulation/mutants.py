"""Worse control planes: each leaves out one of the rules that must not be left out.

The checker has to catch every one of them, or it proves nothing about the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from podway.app import carry_out, failover
from podway.domain.addressing import Prefix
from podway.domain.failover.card_changes import HandsOff
from podway.domain.failover.decide import Card, Decision, decide
from podway.domain.health.freeze import Frozen
from podway.domain.health.verdict import Severity, Verdict
from podway.domain.inventory import Instance, Member
from podway.domain.members.membership import Membership, membership
from podway.domain.members.readiness import mark_ready
from podway.domain.model import Cluster, Create, Delete, Plan, Replace, RouteTable, Step, TablePlan
from podway.domain.planner.plan import plan
from podway.domain.signals import InstanceState
from podway.domain.tables import Claims

from tests.simulation.store import SimStore
from tests.simulation.world import RULES, Mutant


def _delete_first(cluster: Cluster, *, improve: int | None = None) -> Plan:
    """What has to be another is removed and made anew, and what has to go goes first."""
    made = plan(cluster, improve=improve)
    return replace(made, route_tables=tuple(map(_with_deletes_first, made.route_tables)))


def _with_deletes_first(table: TablePlan) -> TablePlan:
    steps: list[Step] = []
    for step in table.steps:
        if isinstance(step, Replace):
            steps += [Delete(step.destination, step.was), Create(step.destination, step.network_interface)]
        else:
            steps.append(step)
    return replace(table, steps=tuple(sorted(steps, key=lambda step: not isinstance(step, Delete))))


def _without_looking(
    card: Card,
    severity: Severity,
    *,
    targets: Mapping[tuple[str, Prefix], str],
    verdicts: Iterable[Verdict],
    now: datetime,
    refused: Collection[str] = (),
    unseen: Collection[str] = (),
) -> Decision:
    """As if every route on the card pointed at the dead node still."""
    del targets
    pointing = {(one.table, one.destination): card.network_interface for one in card.routes}
    return decide(card, severity, targets=pointing, verdicts=verdicts, now=now, refused=refused)


class _Overwriting(SimStore):
    """Cards are rewritten whatever has happened to them since they were read."""

    def put_card(self, card: Card) -> bool:
        def overwrite() -> bool:
            present = self.table.cards.get(card.node)
            return self.table.put_card(replace(card, version=present.version if present else 0))

        return self._call("card", card.node, overwrite)


def _cards_late() -> tuple[tuple[str, Any], ...]:
    write: Callable[..., HandsOff] = carry_out.CarryOut._write_cards
    apply: Callable[..., Any] = carry_out.CarryOut._apply

    def remember(run: Any, *given: Any) -> HandsOff:
        _late[id(run)] = given
        return HandsOff()

    def apply_first(run: Any, *given: Any) -> Any:
        done = apply(run, *given)
        write(run, *_late.pop(id(run)))
        return done

    return (
        ("podway.app.carry_out.CarryOut._write_cards", remember),
        ("podway.app.carry_out.CarryOut._apply", apply_first),
    )


_late: dict[int, tuple[Any, ...]] = {}


def _own_tables_unread(
    members: Iterable[Member], *given: Any, tables: Iterable[RouteTable], **rest: Any
) -> tuple[Member, ...]:
    """Blocks are handed out whatever the table of their own subnet says."""
    known = tuple(tables)

    def others(member: Member) -> list[RouteTable]:
        return [table for table in known if table.subnets != (member.subnet,)]

    return tuple(after for one in members for after in mark_ready([one], *given, tables=others(one), **rest))


def _ends_when_absent(
    remembered: Iterable[Member],
    instances: Iterable[Instance],
    *,
    now: datetime,
    quarantine: timedelta,
    still_targeted: frozenset[str] = frozenset(),
    **_: Any,
) -> Membership:
    """Whom the list leaves out has ended."""
    listed, known = tuple(instances), tuple(remembered)
    shown = {one.id for one in listed}
    ended = tuple(
        Instance(one.id, InstanceState.TERMINATED, "", "", "") for one in known if one.id not in shown
    )
    return membership(known, (*listed, *ended), now=now, quarantine=quarantine, still_targeted=still_targeted)


def _nothing(*_: Any, **__: Any) -> tuple[()]:
    return ()


def _none(*_: Any) -> list[Member]:
    return []


MUTANTS: Mapping[str, Mutant] = {
    "delete before create": Mutant(
        patches=(
            ("podway.domain.run.decide.plan", _delete_first),
            ("podway.app.apply.verify_transition", _nothing),  # which would not believe such a plan
        )
    ),
    "failover without compare-and-set": Mutant(patches=((f"{failover.__name__}.decide", _without_looking),)),
    "reconcile without epoch check": Mutant(
        store=_Overwriting,
        patches=(
            ("podway.domain.failover.card_changes.is_claimed", lambda *_, **__: False),
            ("podway.domain.failover.card_changes.moves_meanwhile", lambda *_, **__: False),
        ),
    ),
    "quarantine off": Mutant(rules=replace(RULES, quarantine=timedelta(0))),
    "a claim without expiry": Mutant(
        patches=(
            (f"{failover.__name__}.CLAIM_LASTS", timedelta(days=3650)),
            ("podway.domain.failover.decide.CLAIM_LASTS", timedelta(days=3650)),
        )
    ),
    "cards after routes": Mutant(patches=_cards_late()),
    "failover never freezes": Mutant(
        patches=(("podway.domain.failover.decide._why_frozen", lambda *_: None),)
    ),
    "reconcile never freezes": Mutant(
        patches=(("podway.domain.run.decide.freeze", lambda cluster, *_: Frozen(cluster, {})),)
    ),
    "absence is an end": Mutant(patches=(("podway.app.observe.membership", _ends_when_absent),)),
    "the first NotFound is an end": Mutant(
        patches=(
            ("podway.domain.members.membership.GONE_AFTER", timedelta(0)),
            ("podway.domain.members.membership.SILENCE", timedelta(0)),
        )
    ),
    "a mass ends like one": Mutant(
        patches=(("podway.domain.members.membership._is_mass", lambda *_: False),)
    ),
    "a new epoch waits for nobody": Mutant(patches=(("podway.domain.members.epochs._silent", _none),)),
    "another stack's mark is nobody's": Mutant(
        patches=(("podway.domain.run.seen.table_claims", lambda *_: Claims((), {})),)
    ),
    "own tables unread": Mutant(patches=((f"{carry_out.__name__}.mark_ready", _own_tables_unread),)),
}


ABSENT = frozenset(
    {
        "absence is an end",
        "the first NotFound is an end",
        "a mass ends like one",
        "a new epoch waits for nobody",
        "another stack's mark is nobody's",
    }
)
"""Those that only newer stories can show: the older ones leave nobody out."""


def hunt(name: str, *, play: Callable[..., Any], seeds: Iterable[int]) -> Iterator[Any]:
    """The stories of the mutant, up to the first in which it is caught."""
    for seed in seeds:
        story = play(seed, mutant=MUTANTS[name])
        yield story
        if story.broken:
            return
