from __future__ import annotations

import pytest
from podway_agent.loop import CALM_SECONDS, LONGEST_PAUSE_SECONDS, SHORTEST_PAUSE_SECONDS, Pace


def test_a_first_repair_waits_for_nothing() -> None:
    assert Pace().wait(100.0) == 0


def test_repairs_that_are_undone_again_and_again_slow_down_to_a_limit() -> None:
    pace, now, pauses = Pace(), 0.0, []
    for _ in range(12):
        now += pace.wait(now)
        pace.repaired(now)
        pauses.append(pace.wait(now))

    assert pauses == pytest.approx(sorted(pauses))
    assert pauses[0] == SHORTEST_PAUSE_SECONDS
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_SECONDS)


def test_after_a_calm_the_next_repair_is_prompt_again() -> None:
    pace = Pace()
    for _ in range(12):
        pace.repaired(100.0)

    pace.repaired(100.0 + CALM_SECONDS + 1)

    assert pace.pause == SHORTEST_PAUSE_SECONDS
