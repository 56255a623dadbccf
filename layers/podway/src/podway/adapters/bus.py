"""Puts the one event that is ours onto the event bus. Called by the operator's `drain`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from podway.adapters.aws_errors import aws_errors
from podway.app.errors import TryAgain
from podway.wire.events import DRAIN_DETAIL_TYPE, DRAIN_SOURCE


class EventBus:
    """The Bus port over an EventBridge client, on the account's default bus."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask_drain(self, instances: Iterable[str]) -> None:
        """Put the event that the rule DrainRequest hands to the lifecycle function."""
        detail = json.dumps({"instances": list(instances)})
        entry = {"Source": DRAIN_SOURCE, "DetailType": DRAIN_DETAIL_TYPE, "Detail": detail}
        with aws_errors():
            answer = self._client.put_events(Entries=[entry])
        if answer["FailedEntryCount"]:
            raise TryAgain(answer["Entries"][0].get("ErrorMessage", "the event was not taken"))
