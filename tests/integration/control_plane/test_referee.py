"""The referee of the lab: whoever asks for its review must not take its silence for praise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.control_plane.plane import US, Plane


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


def test_a_member_that_the_store_has_forgotten_is_a_member_for_as_long_as_it_runs() -> None:
    """A store that went back, or an answer that left the node out: its pods are there all the same."""
    plane = Plane()
    plane.settle()
    assert plane.referee.review() == []
    robbed = next(one for one in plane.members() if one.blocks and one.subnet == plane.subnets["b"])
    others = tuple(one for one in plane.members() if one.id != robbed.id)

    plane.referee.members = lambda: others
    for destination in plane.table("a"):
        if destination.contains(robbed.prefixes[0]):
            plane.region.client(US).delete_route(
                RouteTableId=plane.tables["a"], DestinationCidrBlock=str(destination)
            )
    plane.referee.settle()
    heir = replace(others[0], blocks=(*others[0].blocks, *robbed.blocks))
    plane.referee.members = lambda: (heir, *others[1:])

    found = plane.referee.review()
    assert [one.invariant for one in found if one.what.endswith(f"of {robbed.id}")] == ["I1"]
    assert any(one.invariant == "I4" for one in found)


def test_who_has_ended_is_forgotten_by_the_referee_too() -> None:
    plane = Plane()
    plane.settle()
    gone = next(one for one in plane.members() if one.blocks)
    assert plane.referee.review() == []
    others = tuple(one for one in plane.members() if one.id != gone.id)
    plane.ec2.terminate_instances(InstanceIds=[gone.id])
    plane.region.settle()

    plane.referee.members = lambda: others

    assert plane.referee.review() == []
