"""Reads what Lambda's pollers hand over in batches: changes of the store's table, and hints of the queue.

Called by `handling` and the reconcile function. Each record keeps the name by which Lambda expects to be told
of its failure (``batchItemFailures``). A record that says nothing to us becomes ``Dropped``, never an
exception.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from podway.domain.health.alarms import AlarmNames
from podway.domain.signals import AgentReported, Hint, RoutesEdited, Signal
from podway.wire.agent_item import AgentItem
from podway.wire.attributes import BadAttribute, plain_item
from podway.wire.events import Dropped, DropReason, faults_of, parse_event

Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class Received(Generic[Said]):
    """One record: the name that Lambda knows it by, and what it says."""

    record: str
    says: Said | Dropped


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, defer_build=True)
    """A shape is built with the first event that needs it: a cold failover needs one or two of many."""


class _Change(_Shape):
    at: float = Field(alias="ApproximateCreationDateTime", ge=0, le=1e11, allow_inf_nan=False)
    sequence: str = Field(alias="SequenceNumber")
    keys: Mapping[str, object] = Field(alias="Keys")
    new: Mapping[str, object] | None = Field(default=None, alias="NewImage")
    old: Mapping[str, object] | None = Field(default=None, alias="OldImage")


class _StreamRecord(_Shape):
    id: str = Field(alias="eventID")
    change: _Change = Field(alias="dynamodb")


class _Message(_Shape):
    id: str = Field(alias="messageId")
    body: str


class HintBody(BaseModel):
    """A hint as we put it into the queue.

    Every hint has a new id. The queue drops a body that it has seen in the last five minutes, and a change
    that came after the first hint was read would be lost with the second.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    hint: str = Field(min_length=1)
    at: AwareDatetime
    reason: str
    cause: str = ""

    @classmethod
    def of(cls, hint: Hint) -> HintBody:
        return cls(hint=hint.event_id, at=hint.at, reason=hint.reason, cause=hint.cause)


def signals_of(
    event: Mapping[str, object], *, account: str | None, alarms: AlarmNames | None = None
) -> tuple[Signal | Dropped, ...]:
    """What a handler was given, one event of EventBridge or a batch of the table's stream. Never raises."""
    if "Records" in event:
        return tuple(received.says for received in agent_reports(event))
    return (parse_event(event, account=account, alarms=alarms),)


def agent_reports(event: Mapping[str, object]) -> tuple[Received[AgentReported], ...]:
    """The agents' reports, one per record of a batch of the table's stream, in its order. Never raises."""
    return tuple(
        Received(_text_at(record, "dynamodb", "SequenceNumber"), _agent_report(record))
        for record in records_of(event)
    )


def hints(event: Mapping[str, object], *, account: str | None) -> tuple[Received[Hint], ...]:
    """The hints of a batch of the queue, in its order. Never raises.

    Messages are our own hints, ticks of the schedule, and CloudTrail's records of route changes.
    """
    return tuple(
        Received(_text_at(record, "messageId"), _hint(record, account)) for record in records_of(event)
    )


def records_of(event: Mapping[str, object]) -> tuple[object, ...]:
    """The records of a batch. Empty for anything else, such as an EventBridge event."""
    records = event.get("Records")
    return tuple(records) if isinstance(records, list | tuple) else ()


def _text_at(record: object, *path: str) -> str:
    for name in path:
        record = record.get(name) if isinstance(record, Mapping) else None
    return record if isinstance(record, str) else ""


def _agent_report(record: object) -> AgentReported | Dropped:
    try:
        parsed = _StreamRecord.model_validate(record)
        keys = plain_item(parsed.change.keys)
        if keys.get("sk") != "agent" or parsed.change.new is None:
            return Dropped(DropReason.IRRELEVANT, "not an agent's item, or a deleted one", parsed.id)
        item = AgentItem.model_validate(plain_item(parsed.change.new) | keys)
        if item.instance != item.speaker:  # IAM vouches for the key alone
            return Dropped(DropReason.MALFORMED, f"{item.speaker} speaks for {item.instance}", parsed.id)
        before = _suspects(parsed.change.old)
    except (BadAttribute, RecursionError) as error:
        return Dropped(DropReason.MALFORMED, str(error))
    except ValidationError as error:
        return Dropped(DropReason.MALFORMED, faults_of(error))
    return AgentReported(
        event_id=parsed.id,
        at=datetime.fromtimestamp(parsed.change.at, tz=UTC),
        instance=item.speaker,
        suspects=tuple(sorted(set(item.suspects))),
        cleared=tuple(sorted(before - set(item.suspects))),
        subnet=item.subnet,
        generation=item.generation,
        causes=item.news,
    )


def _suspects(image: Mapping[str, object] | None) -> set[str]:
    """The nodes that the item named before. None for an old image of another shape."""
    listed = plain_item(image or {}).get("suspects", ())
    return {one for one in listed if isinstance(one, str)} if isinstance(listed, list) else set()


def _hint(record: object, account: str | None) -> Hint | Dropped:
    try:
        message = _Message.model_validate(record)
        body = _json_object(message.body)
        if "hint" in body:
            ours = HintBody.model_validate(body)
            return Hint(ours.hint, ours.at, ours.reason, ours.cause)
    except ValidationError as error:
        return Dropped(DropReason.MALFORMED, faults_of(error))
    match parse_event(body, account=account):
        case Hint() | Dropped() as said:
            return said
        case RoutesEdited(event_id, at, table):
            return Hint(event_id, at, f"routes edited {table}".strip())
        case other:
            return Dropped(DropReason.IRRELEVANT, type(other).__name__, message.id)


def _json_object(text: str) -> Mapping[str, object]:
    """The object that *text* spells. An empty one for anything else: no event is empty."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
