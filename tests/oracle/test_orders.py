"""Orders of change against every order there is (more of them in ``make soak ONLY=orders``)."""

from __future__ import annotations

from tests.oracle.orders import compared


def test_an_order_has_a_hole_only_where_no_order_is_hitless() -> None:
    found = [compared(seed) for seed in range(400)]

    assert [(seed, order.wrong) for seed, order in enumerate(found) if order.wrong] == []
    assert any(order.least is None for order in found), "the case without any hitless order never came up"
    assert any(order.steps > order.differing for order in found), "no case needed a temporary route"
