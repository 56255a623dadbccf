"""What the lab calls a direct route, in its tables and expectations."""

from __future__ import annotations

from podway.domain.addressing import Prefix
from podway_lab.lab import direct_routes

WIDE, A, B = (Prefix.parse(text) for text in ("100.64.0.0/20", "100.64.0.0/26", "100.64.0.64/26"))


def test_a_route_is_direct_when_all_that_it_carries_is_its_next_hops() -> None:
    assert direct_routes({A: "a", WIDE: "b"}, {A: "a", B: "b"}) == {A, WIDE}


def test_a_route_that_carries_somebody_elses_block_is_not() -> None:
    assert direct_routes({WIDE: "a"}, {A: "a", B: "b"}) == set()
    assert direct_routes({A: "b", WIDE: "b"}, {A: "a", B: "b"}) == {WIDE}


def test_a_route_that_carries_nothing_is_not() -> None:
    assert direct_routes({A: "a", WIDE: "b"}, {A: "a"}) == {A}
