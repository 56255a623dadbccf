"""Fresh plans next to optima that CP-SAT proved: more blocks than brute force can do."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.oracle.corpus import corpus, gap
from tests.oracle.medium import EXACT, KINDS


@pytest.mark.parametrize("kind", EXACT)
def test_the_busiest_next_hop_is_as_light_as_cp_sat_can_make_it(kind: str) -> None:
    recorded = [one for one in corpus() if one.kind == kind]

    assert recorded
    assert [one for one in recorded if gap(one).busiest != 0] == []


def test_no_plan_claims_to_be_better_than_what_is_proven() -> None:
    for one in corpus():
        found = gap(one)
        assert found.busiest >= 0, one
        assert found.direct >= 0, one


def test_the_corpus_has_clusters_of_every_kind_and_size() -> None:
    kinds = Counter(one.kind for one in corpus())

    assert set(kinds) == set(KINDS)
    assert all(len(one.cluster().nodes) == one.blocks > 7 for one in corpus())
