"""Sends hints into the FIFO queue that wakes reconcile. Called by every use case."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from podway.adapters.aws_errors import aws_errors
from podway.adapters.correlation import cause
from podway.domain.signals import Hint
from podway.wire.batches import HintBody

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from podway.app.ports import Clock

GROUP = "reconcile"
"""The one message group, as in template.yaml's rules, so that one reconcile runs at a time."""


class HintQueue:
    """The Hints port over an SQS client."""

    def __init__(self, client: SQSClient, *, url: str, clock: Clock) -> None:
        self._client, self._url, self._clock = client, url, clock

    def hint(self, reason: str) -> None:
        """Ask for a run. Each hint has an id of its own, so that SQS takes none for a duplicate."""
        hint = Hint(str(uuid.uuid4()), self._clock.now(), reason, cause())
        with aws_errors():
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=HintBody.of(hint).model_dump_json(),
                MessageGroupId=GROUP,
                MessageDeduplicationId=hint.event_id,
            )
