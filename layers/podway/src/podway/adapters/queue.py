"""The FIFO queue of hints."""

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
"""One message group, the same as the rules' in template.yaml: one reconcile at a time."""


class HintQueue:
    """The Hints port over an SQS client."""

    def __init__(self, client: SQSClient, *, url: str, clock: Clock) -> None:
        self._client, self._url, self._clock = client, url, clock

    def hint(self, reason: str) -> None:
        """Ask for a reconcile. Each hint has an id of its own, so that none is taken for another."""
        hint = Hint(str(uuid.uuid4()), self._clock.now(), reason, cause())
        with aws_errors():
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=HintBody.of(hint).model_dump_json(),
                MessageGroupId=GROUP,
                MessageDeduplicationId=hint.event_id,
            )
