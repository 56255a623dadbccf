from __future__ import annotations

import pytest
from podway.wire.snapshot import Snapshot
from podway_agent.store.sync import must_poll_fast

from tests.unit.agent.snapshots import HERE, SIBLING, member, snapshot


@pytest.mark.parametrize(
    ("told", "fast"),
    [
        (None, True),
        (snapshot(), False),
        (snapshot(forwarders=("i-0b",)), False),
        (snapshot(forwarders=(HERE,)), True),
        (snapshot(SIBLING), True),
        (snapshot(member(HERE, "10.0.0.10", "100.64.0.0/26", state="joining")), True),
        (snapshot(member(HERE, "10.0.0.10", "100.64.0.0/26", ready=False)), True),
    ],
)
def test_who_joins_or_forwards_polls_fast(told: Snapshot | None, *, fast: bool) -> None:
    assert must_poll_fast(told, HERE) is fast
