"""Optima that CP-SAT proved, kept in ``corpus.json``, and how to record them anew.

    make corpus       (installs OR-tools first, see ``requirements/solver.in``)

The clusters themselves are not kept: ``medium`` makes them from kind and seed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time

from podway.domain.model import Cluster, TablePlan
from podway.domain.planner.plan import plan

from tests.oracle.medium import KINDS, medium
from tests.oracle.solver import solved

FILE = Path(__file__).with_name("corpus.json")
EACH = 6
"""Clusters of a kind."""


@dataclass(frozen=True)
class Recorded:
    """A cluster's optimum, and what it cost CP-SAT to prove it, in seconds of CPU time."""

    kind: str
    seed: int
    blocks: int
    budget: int
    busiest: float
    direct: float
    seconds: float

    def cluster(self) -> Cluster:
        """The cluster itself."""
        return medium(self.kind, self.seed)


@dataclass(frozen=True)
class Gap:
    """How much more the busiest next hop of a plan relays than it must, and how much less is direct."""

    busiest: float
    direct: float


def gap(recorded: Recorded) -> Gap:
    """Of the fresh plan. Less direct weight counts only where the busiest load is the optimum's."""
    made = fresh(recorded.cluster())
    more = made.max_relayed_load - recorded.busiest
    return Gap(round(more, 6), round(recorded.direct - made.direct_weight, 6) if abs(more) < 1e-6 else 0.0)


def fresh(cluster: Cluster) -> TablePlan:
    """The fresh plan of the only table."""
    return plan(cluster, fresh=True).route_tables[0]


def corpus() -> list[Recorded]:
    """All of it."""
    return [Recorded(**entry) for entry in json.loads(FILE.read_text(encoding="utf-8"))]


def record(kind: str) -> Iterator[Recorded]:
    """Seeds in order, but for those that no plan fits, and those that CP-SAT does not prove soon."""
    found = seed = 0
    while found < EACH:
        cluster = medium(kind, seed)
        start = process_time()
        optimum = solved(cluster)
        seconds = round(process_time() - start, 3)
        if optimum is not None and optimum.proven:
            found += 1
            budget = cluster.route_tables[0].quota
            yield Recorded(kind, seed, len(cluster.nodes), budget, optimum.busiest, optimum.direct, seconds)
        seed += 1


def main() -> None:
    """Record everything, a line per cluster."""
    lines = []
    for kind in KINDS:
        for one in record(kind):
            sys.stdout.write(f"{one}\n")
            sys.stdout.flush()
            lines.append("  " + json.dumps(asdict(one)))
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
