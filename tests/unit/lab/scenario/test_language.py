"""What a scenario says of its cluster, and how each of its sentences is understood."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from podway_lab.scenario.language import BadScenario, parse
from podway_lab.scenario.player import SENTENCES, check
from podway_lab.scenario.verbs import Verbs
from podway_lab.stack.delivery import DeliveryFaults

SUBNET = "subnet a 10.0.0.0/20 zone us-west-2a nodes a1"


def test_a_scenario_says_how_often_the_schedule_ticks_and_what_happens_to_events() -> None:
    text = f"tick 60s\ndelivery doubles 30% loses 5% delays 20% up to 2s seed 7\n{SUBNET}\nstart\n"

    plan = parse(text).plan

    assert plan.tick == 60
    assert plan.delivery_faults == DeliveryFaults(
        seed=7, duplicate=0.3, lose=0.05, delay=0.2, longest_delay=2
    )


def test_without_a_word_about_delivery_the_lab_decides_and_with_only_a_seed_nothing_happens() -> None:
    assert parse(f"{SUBNET}\nstart\n").plan.delivery_faults is None
    assert parse(f"delivery seed 0\n{SUBNET}\nstart\n").plan.delivery_faults == DeliveryFaults(
        longest_delay=0
    )


@pytest.mark.parametrize("line", ["delivery doubles seed 1", "delivery delays 10% seed 1", "tick 5", "tick"])
def test_what_is_no_delivery_and_no_tick_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(BadScenario, match="line 1"):
        parse(f"{line}\n{SUBNET}\nstart\n")


@pytest.mark.parametrize(
    "path", sorted(Path("tests/scenarios").glob("*.scenario")), ids=lambda path: path.stem
)
def test_every_sentence_of_every_scenario_is_understood(path: Path) -> None:
    check(parse(path.read_text()))


def test_the_page_about_the_lab_names_every_sentence() -> None:
    page = " ".join(Path("docs/lab.md").read_text().split())
    patterns = [pattern for verbs in SENTENCES for pattern in verbs.patterns()]
    beginnings = [re.sub(r"[(\\[?.+*].*", "", pattern).strip() for pattern in patterns]

    assert len([one for one in beginnings if one]) > 40
    assert [one for one in beginnings if one not in page] == []


def test_of_two_sentences_that_fit_the_one_added_first_is_meant() -> None:
    verbs = Verbs()
    verbs.add(r"stop traffic", lambda _stage, _match: "traffic")
    verbs.add(r"stop (?P<node>.+)", lambda _stage, _match: "node")

    found = [verbs.understood(text) for text in ("stop traffic", "stop a1", "dance")]

    assert [one and one[1].re.pattern for one in found] == [r"stop traffic", r"stop (?P<node>.+)", None]
