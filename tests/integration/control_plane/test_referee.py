"""The referee of the lab: whoever asks for its review must not take its silence for praise."""

from __future__ import annotations

import pytest

from tests.integration.control_plane.plane import Plane


def test_a_write_that_could_not_be_judged_is_no_clean_review() -> None:
    plane = Plane()
    plane.settle()
    assert plane.referee.review() == []

    def lost() -> tuple[()]:
        raise ConnectionError("the table is gone")

    plane.referee.members = lost
    dead = plane.busiest("b")
    plane.failover.react(plane.dies(dead))
    plane.reconcile()

    with pytest.raises(RuntimeError, match="could not judge") as failure:
        plane.referee.review()
    assert isinstance(failure.value.__cause__, ConnectionError)
