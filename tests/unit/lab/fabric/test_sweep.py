"""What a reader sees of all pairs."""

from __future__ import annotations

from podway_lab.fabric.sweep import Heard, matrix


def test_all_pairs_show_who_is_reached_directly_by_a_relay_or_not_at_all() -> None:
    found = {
        ("a1", "a2"): Heard("100.64.0.1", forwarded=2),
        ("a1", "b10"): Heard("100.64.0.1", forwarded=3),
        ("a2", "a1"): Heard("100.64.0.65", forwarded=2),
        ("a2", "b10"): None,
        ("b10", "a1"): Heard("100.64.16.1", forwarded=4),
        ("b10", "a2"): None,
    }

    assert matrix(found).splitlines() == [
        "     a1  a2 b10",
        " a1       .   1",
        " a2   .       x",
        "b10   2   x    ",
    ]
