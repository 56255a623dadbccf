"""Whatever an answer of EC2 leaves out or says in new words, no running node loses a route or a block by it.

Every field of every answer that a run of reconcile asks for is left out, and every list shortened and every
word replaced, by `tests.thin`. What the whole answer would have left must stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest
from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.quotas import RouteQuota
from podway.app.errors import PodwayError
from podway.domain.addressing import Prefix
from podway.domain.inventory import Survey
from podway_lab.region.alterations import omit, shorten
from podway_lab.region.faults import Alteration, Kind

from tests.integration.control_plane.plane import US, Plane
from tests.thin import alterations

KINDS = {"a2": "c6gn.xlarge", "b1": "c6gn.large"}
RUNS = 3
MACHINES = ("c6gn.xlarge", "m6i.4xlarge", "t3.micro", "m5.large")
Routes = dict[tuple[str, Prefix], str]


def settled() -> Plane:
    """A cluster at rest, whose nodes are of several types, with somebody else's route in a table."""
    plane = Plane(kinds=KINDS)
    plane.settle()
    return plane


def bereaved() -> Plane:
    """A node has just ended that relayed, and nobody has noticed."""
    plane = settled()
    plane.terminate(plane.busiest("b"))
    return plane


def joined() -> Plane:
    """A node has just come."""
    plane = settled()
    plane.launch("a4")
    return plane


PLANES: dict[str, Callable[[], Plane]] = {"settled": settled, "bereaved": bereaved, "joined": joined}


def asked() -> dict[str, dict[str, Any]]:
    """The answer to each Describe of a cold run, as the control plane sees it."""
    plane = settled()
    seen: dict[str, dict[str, Any]] = {}

    def keep(action: str) -> Alteration:
        def look(answer: dict[str, Any], _: Any) -> dict[str, Any]:
            seen[action] = answer
            return answer

        return look

    for action in ("Instances", "Subnets", "RouteTables", "Vpcs", "InstanceTypes"):
        plane.region.faults.arm(Kind.THINNER, action=f"ec2:Describe{action}", caller=US, alter=keep(action))
    plane.start_cold()
    plane.reconcile()
    return seen


@cache
def cases() -> dict[str, tuple[str, Alteration]]:
    """What is done to which answer, by name."""
    return {
        f"{action}: {name}": (f"ec2:Describe{action}", alteration)
        for action, answer in asked().items()
        for name, alteration in alterations(answer).items()
    }


def routes(plane: Plane) -> Routes:
    return {
        (letter, destination): target
        for letter in plane.tables
        for destination, target in plane.table(letter).items()
    }


def blocks(plane: Plane) -> dict[str, set[Prefix]]:
    return {member.id: set(member.prefixes) for member in plane.members()}


def running(plane: Plane) -> dict[str, str]:
    """The nodes that run, by interface."""
    return {plane.interface(name): plane.ids[name] for name in plane.ids if plane.runs_still(name)}


def named(plane: Plane) -> set[str]:
    return {one.id for found in plane.store.recall().maps.values() for one in found.members}


def survey(plane: Plane) -> Survey | None:
    """What a cold run sees of EC2, without its doubts; None if it sees nothing."""
    client: Any = plane.region.client(US)
    try:
        seen = Ec2Cloud(client, cluster="demo", quota=RouteQuota(fixed=500)).survey()
    except PodwayError:
        return None
    return replace(seen, doubts=())


def run(plane: Plane) -> tuple[list[str], str]:
    """One cold run: its warnings, and what it raised."""
    plane.start_cold()
    try:
        return plane.reconcile().warnings, ""
    except PodwayError as error:
        return [], str(error)


@cache
def left_by_the_whole_answer(situation: str) -> Routes:
    """What runs leave that see everything."""
    plane = PLANES[situation]()
    before = routes(plane)
    for _ in range(RUNS):
        run(plane)
    after = routes(plane)
    return {where: target for where, target in before.items() if after.get(where) == target}


@pytest.mark.parametrize("fault", ["refused", "empty", "without a bandwidth"])
def test_capacities_that_cannot_be_read_move_nothing(fault: str) -> None:
    """A cold function asks for them anew. Without an answer all would weigh the same."""
    rng = Random(0)
    names = [f"{letter}{number}" for letter in "abc" for number in range(1, 7)]
    plane = Plane(tuple(names), quota=8, kinds={name: rng.choice(MACHINES) for name in names})
    plane.settle()
    before = routes(plane)
    action = "ec2:DescribeInstanceTypes"
    match fault:
        case "refused":
            plane.region.faults.arm(Kind.REFUSED, action=action, caller=US, code="UnauthorizedOperation")
        case "empty":
            plane.region.faults.arm(Kind.THINNER, action=action, caller=US, alter=shorten("InstanceTypes"))
        case _:
            path = "InstanceTypes.NetworkInfo.NetworkCards.BaselineBandwidthInGbps"
            plane.region.faults.arm(Kind.THINNER, action=action, caller=US, alter=omit(path))

    for _ in range(RUNS):
        warnings, error = run(plane)
        assert any("capacities" in one for one in warnings), error

    assert routes(plane) == before


@pytest.mark.parametrize(
    "case",
    [one for one in cases() if one.endswith("(1.0)") and "AvailabilityZone in odd" not in one],
    ids=str,
)
def test_what_is_not_believed_is_named(case: str) -> None:
    """Where a run sees another world than there is, it says that it does not understand, or ends with that.

    A zone's name is no word: any may come.
    """
    action, alteration = cases()[case]
    plane = settled()
    whole = survey(plane)
    plane.region.faults.arm(Kind.THINNER, action=action, caller=US, alter=alteration)

    warnings, error = run(plane)

    assert survey(plane) == whole or warnings or error


@pytest.mark.parametrize(
    ("case", "situation"), [(case, list(PLANES)[number % 3]) for number, case in enumerate(cases())], ids=str
)
def test_no_route_or_block_is_lost_by_what_an_answer_leaves_out(case: str, situation: str) -> None:
    assert_that_nothing_is_lost(situation, [case])


@pytest.mark.parametrize("seed", range(60))
def test_nor_by_several_things_at_once(seed: int) -> None:
    rng = Random(seed)
    chosen = rng.sample(list(cases()), rng.randint(2, 5))
    assert_that_nothing_is_lost(rng.choice(list(PLANES)), chosen)


def assert_that_nothing_is_lost(situation: str, chosen: list[str]) -> None:
    plane = PLANES[situation]()
    kept, alive = left_by_the_whole_answer(situation), running(plane)
    held, told = blocks(plane), named(plane)
    for case in chosen:
        action, alteration = cases()[case]
        plane.region.faults.arm(Kind.THINNER, action=action, caller=US, alter=alteration)

    said = [run(plane) for _ in range(RUNS)]

    after, now = routes(plane), blocks(plane)
    lost = {where: after.get(where) for where, target in kept.items() if after.get(where) != target}
    assert not [where for where in lost if kept[where] in alive], (chosen, said)
    assert all(now.get(node) == held[node] for node in held if node in alive.values()), (chosen, said)
    assert told & set(alive.values()) <= named(plane), (chosen, said)
    plane.region.faults.disarm()
    plane.start_cold()
    plane.settle()
    assert plane.uncovered() == []
    assert plane.breaches() == []
