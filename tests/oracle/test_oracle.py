"""The planner equals the oracle on small clusters of every kind (20,000 more: ``make soak``)."""

from __future__ import annotations

import pytest

from tests.oracle.compare import fresh_difference, stable_difference

EXACT = ("mono", "interleaved", "home", "borrowed", "mixed", "foreign", "weighted", "own", "sick")
STABLE = ("mono", "interleaved", "home", "borrowed", "mixed", "foreign", "own")


@pytest.mark.parametrize("kind", EXACT)
def test_a_fresh_plan_is_the_optimum(kind: str) -> None:
    assert [found for seed in range(12) if (found := fresh_difference(kind, seed))] == []


@pytest.mark.parametrize("kind", STABLE)
def test_a_stable_plan_takes_the_fewest_steps(kind: str) -> None:
    assert [found for seed in range(60) if (found := stable_difference(kind, seed))] == []
