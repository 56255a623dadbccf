"""Another block, end to end: real agents, the functions, the referee, packets."""

from __future__ import annotations

import pytest
from podway.domain.addressing import Prefix

from tests import limits
from tests.lab.unrest import ask_apart

pytestmark = [pytest.mark.fabric, limits.long]


def test_a_node_that_fills_its_block_gets_another_and_pods_go_on_in_it() -> None:
    found = ask_apart("tests.lab.filling", [], limits.APART_SECONDS)

    assert found["complete"], found
    first, second = map(Prefix.parse, found["blocks"])
    assert [str(first)] == found["before"]
    assert found["ready"] == [True, True]
    assert found["others"] == [1, 1]
    held = [sum(block.contains(Prefix.of_address(pod)) for pod in found["pods"]) for block in (first, second)]
    assert held == [5, 3]
    assert found["lost"] == 0
    assert found["breaches"] == []
