"""Lambda's event source mappings: poll the queue and the table's stream for the functions.

Delivery starts one poller for each mapping of the stack.
"""

from __future__ import annotations

import base64
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from podway_lab.stack.functions import FunctionHost, Invocation, Payload
from podway_lab.stack.patterns import Pattern
from podway_lab.stack.template import Place, SourceMapping

GiveUp = Callable[[str, Payload, Invocation], None]
"""Told the ARN of the failure queue, the batch that failed for good, and its last run."""

_RETRY_SECONDS = 0.5
"""Before the region is asked again after it did not answer."""


class Poller(ABC):
    """A thread that polls the region for records, hands them to a function and waits for it."""

    def __init__(self, name: str) -> None:
        self.stopping = threading.Event()
        self.busy = False
        """Whether it has taken records that are not handled yet."""
        self.rounds = 0
        """How often it has polled. After two more it has certainly seen what is there now."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Poll no more. Call it before the functions are stopped."""
        self.stopping.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while not self.stopping.is_set():
            try:
                self.poll()
                self.rounds += 1
            except (BotoCoreError, ClientError):
                self.stopping.wait(
                    _RETRY_SECONDS
                )  # the region is away or unwilling: ask again, as Lambda does
            finally:
                self.busy = False

    @abstractmethod
    def poll(self) -> None:
        """Take what is there and hand it on; wait a little if there is nothing."""


class QueuePoller(Poller):
    """Hands a queue's messages to a function, and deletes those that it did not call failed."""

    def __init__(
        self, mapping: SourceMapping, function: FunctionHost, *, sqs: Any, url: str, arn: str, pause: float
    ) -> None:
        super().__init__(f"mapping {mapping.name}")
        self._mapping = mapping
        self._function = function
        self._sqs = sqs
        self._url = url
        self._arn = arn
        self._pause = pause

    def poll(self) -> None:
        messages = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._mapping.batch,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not messages:
            self.stopping.wait(self._pause)
            return
        self.busy = True
        invocation = self._function.invoke({"Records": [self._record(one) for one in messages]})
        if invocation.error:
            return  # all come back after the visibility timeout
        failed = failed_records(invocation)
        for message in messages:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _record(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message["Attributes"],
            "messageAttributes": message.get("MessageAttributes", {}),
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._arn,
            "awsRegion": self._arn.split(":")[3],
        }


class StreamPoller(Poller):
    """Hands a table's changes to one function, in order, as far as its filters let them through.

    An error holds the stream up while it is retried; then the batch goes to the failure queue.
    """

    def __init__(
        self,
        mapping: SourceMapping,
        function: FunctionHost,
        place: Place,
        *,
        streams: Any,
        stream: str,
        pause: float,
        retry_after: Sequence[float],
        give_up: GiveUp,
    ) -> None:
        super().__init__(f"mapping {mapping.name}")
        self._mapping = mapping
        self._function = function
        self._place = place
        self._streams = streams
        self._stream = stream
        self._pause = pause
        self._retry_after = retry_after
        self._give_up = give_up
        self._filters = [Pattern(one) for one in mapping.filters]
        self._iterator = ""
        self._next_stream = ""

    def follow(self, stream: str) -> None:
        """Take another table's stream from the next poll on."""
        self._next_stream = stream

    def poll(self) -> None:
        if self._next_stream:
            self._stream, self._next_stream, self._iterator = self._next_stream, "", ""
        if not self._iterator:
            self._iterator = self._first_iterator()
        answer = self._streams.get_records(ShardIterator=self._iterator, Limit=self._mapping.batch)
        if not answer["Records"]:
            self.stopping.wait(self._pause)
            return
        self.busy = True
        records = [stream_record(one, self._stream, self._place.region) for one in answer["Records"]]
        self._deliver([one for one in records if self._wanted(one)])
        # Take the next iterator only after a batch was dealt with. An empty answer keeps the present one:
        # every iterator that moto gives out stays in its memory.
        self._iterator = answer["NextShardIterator"]

    def _first_iterator(self) -> str:
        described = self._streams.describe_stream(StreamArn=self._stream)["StreamDescription"]
        (shard,) = described["Shards"]
        return str(
            self._streams.get_shard_iterator(
                StreamArn=self._stream,
                ShardId=shard["ShardId"],
                # The stack has just been made: all that the stream holds came after this mapping.
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
        )

    def _wanted(self, record: Mapping[str, Any]) -> bool:
        return not self._filters or any(one.matches(record) for one in self._filters)

    def _deliver(self, records: list[dict[str, Any]]) -> None:
        for attempt in range(max(self._mapping.retries, 0) + 1):
            if not records or self.stopping.is_set():
                return
            if attempt:
                self.stopping.wait(self._retry_after[min(attempt, len(self._retry_after)) - 1])
            invocation = self._function.invoke({"Records": records})
            records = still_to_do(records, invocation)
        if records:
            self._give_up(self._mapping.on_failure, {"Records": records}, invocation)


def failed_records(invocation: Invocation) -> set[str]:
    """The records that a handler called failed (ReportBatchItemFailures)."""
    result = invocation.result if isinstance(invocation.result, dict) else {}
    return {str(one["itemIdentifier"]) for one in result.get("batchItemFailures", [])}


def still_to_do(records: list[dict[str, Any]], invocation: Invocation) -> list[dict[str, Any]]:
    """The records from the first failed one on: a stream must be handled in its order."""
    if invocation.error:
        return records
    failed = failed_records(invocation)
    numbers = [one["dynamodb"]["SequenceNumber"] for one in records]
    return next((records[place:] for place, number in enumerate(numbers) if number in failed), [])


def stream_record(record: Mapping[str, Any], stream: str, region: str) -> dict[str, Any]:
    """A record as Lambda hands it over: times as seconds, bytes as base64."""
    shown: dict[str, Any] = _jsonable(record)
    return shown | {"awsRegion": region, "eventSourceARN": stream}


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key: _jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [_jsonable(one) for one in value]
    return value
