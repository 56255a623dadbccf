"""A cluster changes in every way but by a death, and no packet notices.

``make soak ONLY=hitless`` does it for longer.
"""

from __future__ import annotations

import pytest

from tests import limits
from tests.lab.unrest import play_apart

pytestmark = [pytest.mark.fabric, limits.long]


def test_no_transition_loses_a_packet() -> None:
    found = play_apart(0, 6, seconds=limits.APART_SECONDS)

    assert found["broken"] == ""
    assert found["lost"] == 0
    assert found["sent"] > 50_000
    assert {made["kind"] for made in found["made"]} >= {"split", "merge", "failover", "drain"}
    assert sum(made["writes"] for made in found["made"]) >= 5, "hardly a route was changed"
