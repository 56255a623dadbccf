"""Failover by probing, with real packets: what must move the routes does, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from podway_agent.probing.suspicion import ProbeFinding

from tests import limits
from tests.lab.trials import FAULTS, HARMLESS, play_apart

pytestmark = [pytest.mark.fabric, limits.long]

ZOMBIES = {"forwarding off", "FORWARD drop"}
"""They answer, and relay nothing: an instance status check is content with them."""


@cache
def play() -> tuple[list[dict[str, Any]], str]:
    """All trials, played once in one lab, whatever comes of it."""
    return play_apart(*FAULTS, *HARMLESS, "join", "news")


def trials() -> dict[str, dict[str, Any]]:
    """What came of each trial."""
    said, wrong = play()
    assert not wrong, (wrong, said)
    return {one["trial"]: one for one in said}


@pytest.mark.parametrize("fault", FAULTS)
def test_routes_leave_a_forwarder_that_relays_no_more(fault: str) -> None:
    """Routes moved and traffic flows again, or the trial had failed."""
    said = trials()[fault]

    assert said["lost"] > 0, "the fault never happened"
    assert said["outage_ms"] >= said["lost"] / 2
    assert said["findings"] == [ProbeFinding.IDLE if fault in ZOMBIES else ProbeFinding.DEAD]


@pytest.mark.parametrize("trouble", HARMLESS)
def test_routes_stay_while_the_forwarder_relays(trouble: str) -> None:
    said = trials()[trouble]

    assert (said["moved"], said["lost"], said["suspects"]) == (False, 0, []), said


def test_a_prober_that_is_cut_off_doubts_itself_and_says_nothing() -> None:
    said = trials()["prober cut off"]

    assert said["victim_doubts"] == 1, "the fault never happened"
    assert said["victim_suspects"] == []


def test_a_prober_that_loses_its_own_probes_is_alone_with_its_suspicion() -> None:
    said = trials()["one prober unheard"]

    assert len(said["victim_suspects"]) == 1, "the fault never happened"


def test_a_forwarder_whose_agent_is_frozen_gets_no_new_block_and_keeps_its_traffic() -> None:
    said = trials()["join"]

    assert (said["moved"], said["lost"], said["early"]) == (False, 0, False)


def test_a_new_nodes_pod_and_that_of_a_sibling_that_has_not_heard_of_it_talk_by_one_relay_at_most() -> None:
    said = trials()["news"]

    assert said["ignorant"], "the sibling knew the new node"
    assert said["lost"] == 0
    assert said["relays"] == [1, 0], "there by the forwarder, back directly"
    assert said["relays_after"] == [0, 0]


def test_nobody_broke_an_invariant() -> None:
    assert trials()["referee"]["breaches"] == []
