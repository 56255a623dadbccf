"""What the opening docstring of ``cover`` says: its example, its join table, and what may be thrown away."""

from __future__ import annotations

from random import Random

import pytest
from podway.domain.addressing import Prefix
from podway.domain.planner.cover import EMPTY, MIXED, Covering, Present, Prices, hard, joined, routes_of, soft
from podway.domain.planner.trie import NOBODY, Leaf, Problem, build

POD = Prefix.parse("10.0.0.0/22")
EXAMPLE = {"10.0.0.0/24": 5.0, "10.0.1.0/24": 2.0, "10.0.2.0/24": 4.0}
C, D = 0, 1


def problem(weights: dict[str, float]) -> Problem:
    """A node of capacity 1 for every block, all of one subnet that owns the whole range."""
    blocks = sorted((Prefix.parse(block), weight) for block, weight in weights.items())
    return Problem(
        roots=(POD,),
        leaves=[Leaf(block, C, owner, weight) for owner, (block, weight) in enumerate(blocks)],
        spaces=[(POD, C)],
        foreign=(),
        capacity=dict.fromkeys(range(len(blocks)), 1.0),
        strongest={C: 1.0},
        homes=frozenset({C}),
    )


@pytest.mark.parametrize(
    ("limit", "routes", "next_limit"),
    [(6.0, {"10.0.0.0/22"}, float("inf")), (5.0, {"10.0.0.0/22", "10.0.0.0/23"}, 6.0)],
)
def test_the_example(limit: float, routes: set[str], next_limit: float) -> None:
    asked = problem(EXAMPLE)
    covering = Covering(asked, build(asked))

    found = covering.solve(limit)

    assert found is not None
    assert {str(covering.trie.prefix[at]) for at, _ in routes_of(found.trace)} == routes
    assert (found.cost, covering.next_limit) == (len(routes), next_limit)


LABELS = (soft(C), hard(C), soft(D), hard(D), MIXED)
JOINED = {
    EMPTY: (soft(C), hard(C), soft(D), hard(D), MIXED),
    soft(C): (soft(C), hard(C), MIXED, None, MIXED),
    hard(C): (hard(C), hard(C), None, None, None),
    MIXED: (MIXED, None, MIXED, None, MIXED),
}


@pytest.mark.parametrize("one", JOINED)
def test_the_join_table(one: int) -> None:
    assert tuple(joined(one, other) for other in LABELS) == JOINED[one]
    assert tuple(joined(other, one) for other in LABELS) == JOINED[one]


def drawn(random: Random) -> tuple[Problem, dict[Prefix, int]]:
    """Up to 20 nodes of equal capacity in two subnets, some that may not relay, and present routes."""
    homes = [(half, colour) for colour, half in enumerate(POD.halves())]
    places = random.sample(range(64), random.randint(2, 20))
    blocks = [Prefix(4, POD.value + 16 * place, 28) for place in sorted(places)]
    colour = [next(c for net, c in homes if net.contains(block)) for block in blocks]
    able = {owner: 1.0 for owner in range(len(blocks)) if random.random() < 0.9}
    leaves = [
        Leaf(block, colour[owner], owner, float(random.randint(1, 9)), hard=random.random() < 0.9)
        for owner, block in enumerate(blocks)
    ]
    asked = Problem(
        roots=(POD,),
        leaves=leaves,
        spaces=homes,
        foreign=(),
        capacity=able,
        strongest={colour[owner]: 1.0 for owner in able},
        homes=frozenset({C, D}),
    )
    wide = [block.at(random.randint(23, 28)) for block in blocks]
    return asked, {one: random.randrange(len(blocks)) for one in wide if random.random() < 0.5}


@pytest.mark.parametrize("seed", range(400))
def test_where_capacities_are_equal_an_open_state_as_dear_as_the_cheapest_closed_one_is_of_no_use(
    seed: int,
) -> None:
    random = Random(seed)
    asked, present = drawn(random)
    trie = build(asked, present)
    at_of = {prefix: at for at, prefix in enumerate(trie.prefix)}
    there = {}
    for level, (prefix, hop) in enumerate(sorted(present.items())):
        if prefix in at_of:
            able = hop if hop in asked.capacity else NOBODY
            there[at_of[prefix]] = Present(able, level, asked.leaves[hop].colour)
    for prices in (Prices(), Prices(there, route=1e-6, step=1.0), Prices(there, route=1.001, step=1.0)):
        pruned, whole = Covering(asked, trie, prices), Covering(asked, trie, prices)
        assert pruned.uniform
        whole.uniform = False
        limit = float(random.randint(0, 30))

        found, all_kept = pruned.solve(limit), whole.solve(limit)

        assert (found and found.cost) == pytest.approx(all_kept and all_kept.cost)
