"""Agents are killed at random points, and nothing but themselves notices.

``make soak ONLY=kills`` does it for longer.
"""

from __future__ import annotations

import pytest

from tests import limits
from tests.lab.kills import play_apart

pytestmark = [pytest.mark.fabric, limits.long]


def test_a_killed_agent_costs_no_packet_and_its_successor_finds_its_way() -> None:
    found = play_apart(0, 3, seconds=limits.APART_SECONDS)

    assert found["broken"] == ""
    assert found["lost"] == 0
    assert found["sent"] > 30_000
    assert [made["kind"] for made in found["made"]] == ["idle", "starting", "changing"]
