"""A simulated year in small: what it counts, that it repeats itself, and that the comparison is fair."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from podway.cli import main as cli
from podway.cli.churn import Buddies, NextFit, Scene, fewest_routes, live
from podway.domain.addressing import Prefix
from podway.domain.planner.cover import Covering
from podway.domain.planner.trie import Leaf, Problem, build

POD = Prefix.parse("100.64.0.0/16")
SCENE = Scene(POD, block_length=26, zones=3, nodes=570)


def test_days_of_churn_at_70_percent_need_few_routes_and_place_every_block() -> None:
    ours = live(SCENE, Buddies(SCENE), 72, Random(1))
    theirs = live(SCENE, NextFit(SCENE), 72, Random(1))

    assert ours.peak / SCENE.places > 0.65
    assert (ours.failed, ours.peak) == (0, theirs.peak)
    assert max(ours.routes) <= 6
    assert max(theirs.routes) > 10 * max(ours.routes)


def test_the_same_seed_gives_the_same_year() -> None:
    assert live(SCENE, Buddies(SCENE), 30, Random(5)) == live(SCENE, Buddies(SCENE), 30, Random(5))


def test_more_nodes_than_places_are_counted_as_not_placed() -> None:
    crowded = Scene(POD, block_length=26, zones=3, nodes=1100)

    assert live(crowded, Buddies(crowded), 24, Random(1)).failed > 0


@pytest.mark.parametrize("seed", range(25))
def test_the_quick_count_of_routes_is_the_dynamic_programme_s(seed: int) -> None:
    random = Random(seed)
    zones = {
        Prefix(4, POD.value + 64 * index, 26): random.randrange(3) for index in random.sample(range(64), 20)
    }
    blocks = sorted(zones.items())
    leaves = [Leaf(block, zone, at, 1.0) for at, (block, zone) in enumerate(blocks) if zone != 0]
    problem = Problem(
        roots=[POD],
        leaves=leaves,
        spaces=[],
        foreign=frozenset(),
        capacity=dict.fromkeys(range(20), 1.0),
        strongest={1: 1.0, 2: 1.0},
        homes=frozenset(),
    )

    cover = Covering(problem, build(problem)).solve(float("inf"))

    assert cover is not None
    assert fewest_routes(blocks, own=0) == cover.cost


def test_simulate_answers_for_a_document_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {
        "cluster": "demo",
        "pod_cidrs": ["100.64.0.0/18"],
        "subnets": [{"id": name, "supernets": []} for name in "abc"],
        "nodes": [],
        "route_tables": [{"id": "rtb-1", "routes": []}],
    }
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(document))
    plot = tmp_path / "routes.svg"

    code = cli.run(
        ["simulate", "-f", str(file), "--days", "2", "--nodes", "150", "--plot", str(plot), "-o", "json"]
    )

    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert report["policies"].keys() == {"podway", "next-fit", "route per node"}
    assert report["policies"]["podway"]["not_placed"] == 0
    assert plot.read_text().startswith("<svg")
