"""The operator's command writes the store's time: a person's clock may be hours off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from podway.adapters.store_clock import StoreClock
from podway.app.errors import TryAgain

TRUE = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class Store:
    """A client that says the true time, to the second, whenever it is asked."""

    def __init__(self, *, date: str | None = None) -> None:
        self.meta = SimpleNamespace(events=self)
        self.date = date
        self.heard: list[Any] = []
        self.asked = 0
        self.passed = 1000.0

    def register(self, name: str, hear: Any) -> None:
        assert name == "after-call.dynamodb"
        self.heard.append(hear)

    def true(self) -> datetime:
        return TRUE + timedelta(seconds=self.passed - 1000.0)

    def answer(self) -> None:
        self.asked += 1
        said = self.date if self.date is not None else format_datetime(self.true(), usegmt=True)
        for hear in self.heard:
            hear(parsed={"ResponseMetadata": {"HTTPHeaders": {"date": said}}}, model=None)


def clock_of(store: Store, warned: list[str]) -> StoreClock:
    return StoreClock(store, ask=store.answer, warn=warned.append, passed=lambda: store.passed)


def test_the_time_is_the_stores_whatever_the_machine_says() -> None:
    """Case x: the machine is years away from this test's moment."""
    store, warned = Store(), list[str]()
    clock = clock_of(store, warned)

    first = clock.now()
    store.passed += 7.25
    later = clock.now()

    assert (first, later) == (TRUE, TRUE + timedelta(seconds=7.25))
    assert (store.asked, warned) == (1, [])


def test_it_is_never_set_back_and_gets_nearer_with_each_answer() -> None:
    store, warned = Store(), list[str]()
    clock = clock_of(store, warned)
    before = clock.now()
    for _ in range(20):
        store.passed += 0.37
        store.answer()
        after = clock.now()
        assert after > before
        assert timedelta(0) <= store.true() - after < timedelta(seconds=1)
        before = after


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_where_the_store_says_no_time_the_machines_has_to_do_and_that_is_said_once(date: str) -> None:
    store, warned = Store(date=date), list[str]()
    clock = clock_of(store, warned)

    first = clock.now()
    clock.now()

    assert abs(datetime.now(UTC) - first) < timedelta(minutes=5)
    assert len(warned) == 1


def test_where_the_store_does_not_answer_the_reason_is_said() -> None:
    def away() -> None:
        raise TryAgain("no connection")

    warned: list[str] = []
    clock = StoreClock(Store(), ask=away, warn=warned.append)

    clock.now()

    assert warned == ["no connection"]
