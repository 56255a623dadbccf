"""Every event that AWS documents says what it should; everything else is dropped with a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway.domain.health.alarms import AlarmNames
from podway.domain.signals import (
    AgentReported,
    AlarmChanged,
    AlarmValue,
    HandoverAsked,
    HandoverReason,
    Hint,
    InstanceState,
    Launched,
    LifecycleHook,
    RoutesEdited,
    StateChanged,
)
from podway.wire.attributes import BadAttribute, plain_value
from podway.wire.batches import HintBody, agent_reports, hints
from podway.wire.events import Dropped, DropReason, parse_event

EVENTS = Path(__file__).parents[2] / "events"
ACCOUNT = "123456789012"
NODE = "i-0123456789abcdef0"
OTHER = "i-0fedcba9876543210"
AT = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)
ALARM = f"podway-production-{NODE}"


def event(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


def hook(kind: str) -> LifecycleHook:
    return LifecycleHook("workers", f"podway-{kind}", "87654321-4321-4321-4321-210987654321", NODE)


def expected(name: str, event_id: str) -> object:
    evaluated = AT - timedelta(milliseconds=360)
    table = "rtb-0123456789abcdef0"
    return {
        "ec2-spot-interruption": HandoverAsked(event_id, AT, (NODE,), HandoverReason.SPOT_INTERRUPTION),
        "ec2-rebalance-recommendation": HandoverAsked(event_id, AT, (NODE,), HandoverReason.REBALANCE),
        "asg-launch-hook": Launched(event_id, AT, hook("launch")),
        "asg-terminate-hook": HandoverAsked(
            event_id, AT, (NODE,), HandoverReason.TERMINATE_HOOK, hook("terminate")
        ),
        "health-scheduled-change": HandoverAsked(event_id, AT, (NODE, OTHER), HandoverReason.MAINTENANCE),
        "health-scheduled-change-closed": HandoverAsked(
            event_id, AT, (NODE,), HandoverReason.MAINTENANCE, is_over=True
        ),
        "podway-drain": HandoverAsked(event_id, AT, (NODE,), HandoverReason.DRAIN),
        "cloudwatch-alarm-to-alarm": AlarmChanged(event_id, evaluated, ALARM, (NODE,), AlarmValue.ALARM),
        "cloudwatch-alarm-of-somebody-else": AlarmChanged(
            event_id, evaluated, "disk 80 % full", (NODE,), AlarmValue.ALARM
        ),
        "cloudwatch-alarm-to-ok": AlarmChanged(
            event_id, evaluated + timedelta(minutes=5), ALARM, (NODE,), AlarmValue.OK
        ),
        "cloudwatch-alarm-to-insufficient-data": AlarmChanged(
            event_id, evaluated, ALARM, (NODE,), AlarmValue.INSUFFICIENT_DATA
        ),
        "cloudwatch-alarm-metric-math": AlarmChanged(
            event_id, evaluated, "either-nat", (NODE, OTHER), AlarmValue.ALARM
        ),
        "cloudwatch-alarm-contributor": AlarmChanged(
            event_id, evaluated, "podway-production-fleet", (NODE,), AlarmValue.ALARM
        ),
        "cloudwatch-alarm-action": AlarmChanged(
            f"arn:aws:cloudwatch:us-west-2:{ACCOUNT}:alarm:{ALARM}@2026-11-22T10:15:29.640+0000",
            evaluated,
            ALARM,
            (NODE,),
            AlarmValue.ALARM,
        ),
        "cloudtrail-create-route": RoutesEdited(event_id, AT, table),
        "cloudtrail-replace-route": RoutesEdited(event_id, AT, table),
        "cloudtrail-delete-route": RoutesEdited(event_id, AT, table),
        "cloudtrail-associate-route-table": RoutesEdited(event_id, AT, table),
        "cloudtrail-disassociate-route-table": RoutesEdited(event_id, AT, ""),
        "cloudtrail-enable-vgw-route-propagation": RoutesEdited(event_id, AT, table),
        "cloudtrail-disable-vgw-route-propagation": RoutesEdited(event_id, AT, table),
        "cloudtrail-associate-vpc-cidr-block": RoutesEdited(event_id, AT, ""),
        "cloudtrail-create-tags": RoutesEdited(event_id, AT, ""),
        "cloudtrail-create-tags-of-others": RoutesEdited(event_id, AT, ""),
        "cloudtrail-delete-tags": RoutesEdited(event_id, AT, ""),
        "schedule-tick": Hint(event_id, AT, "schedule"),
        **{f"ec2-state-{state}": StateChanged(event_id, AT, NODE, state) for state in InstanceState},
    }[name]


DROPPED = {
    "asg-test-notification": DropReason.TEST_NOTIFICATION,
    "cloudtrail-refused-replace-route": DropReason.IRRELEVANT,
    "cloudwatch-alarm-composite": DropReason.IRRELEVANT,
    "cloudwatch-alarm-of-no-instance": DropReason.IRRELEVANT,
    "foreign-account-state-terminated": DropReason.FOREIGN_ACCOUNT,
    "health-issue-of-other-service": DropReason.IRRELEVANT,
    "malformed-detail-is-text": DropReason.MALFORMED,
    "malformed-state-underscored-instance": DropReason.MALFORMED,
    "malformed-state-unheard-of": DropReason.MALFORMED,
    "malformed-state-without-instance": DropReason.MALFORMED,
    "unknown-ebs-volume": DropReason.UNKNOWN,
}
SINGLE = sorted(
    path.stem for path in EVENTS.glob("*.json") if not path.stem.startswith(("stream-", "queue-"))
)


@pytest.mark.parametrize("name", SINGLE)
def test_every_recorded_event_is_understood_or_dropped_for_its_reason(name: str) -> None:
    given_event = event(name)

    says = parse_event(given_event, account=ACCOUNT)

    if name in DROPPED:
        assert isinstance(says, Dropped)
        assert says.reason is DROPPED[name]
        assert says.event_id == given_event.get("id", "")
    else:
        assert says == expected(name, given_event.get("id", ""))


def test_a_malformed_event_names_the_field_at_fault() -> None:
    says = parse_event(event("malformed-state-underscored-instance"), account=ACCOUNT)

    assert isinstance(says, Dropped)
    assert "instance-id" in says.detail


def test_the_alarm_action_of_another_account_is_dropped() -> None:
    says = parse_event(event("cloudwatch-alarm-action") | {"accountId": "999999999999"}, account=ACCOUNT)

    assert isinstance(says, Dropped)
    assert says.reason is DropReason.FOREIGN_ACCOUNT


@pytest.mark.parametrize(
    ("alarm", "prefix", "is_heard"),
    [
        ("disk 80 % full", "", False),
        ("disk 80 % full", "disk", True),
        (f"podway/production/{NODE}", "", True),
        (f"podway/production-2/{NODE}", "", False),
        ("podway-fleet/production", "", True),
        ("podway-fleet/production-2", "disk", False),
    ],
)
@pytest.mark.parametrize("kind", ["of-somebody-else", "to-ok", "contributor", "action"])
def test_only_our_alarms_and_those_with_the_operators_prefix_are_heard(
    kind: str, alarm: str, prefix: str, is_heard: bool
) -> None:
    """Case v: an account has alarms of everybody, and theirs too have the dimension InstanceId."""
    given = event(f"cloudwatch-alarm-{kind}")
    (given["alarmData"] if kind == "action" else given["detail"])["alarmName"] = alarm

    says = parse_event(given, account=ACCOUNT, alarms=AlarmNames("production", prefix))

    assert isinstance(says, AlarmChanged) == is_heard
    if not is_heard:
        assert says == Dropped(DropReason.FOREIGN_ALARM, f"alarm {alarm}", getattr(says, "event_id", ""))


def test_without_an_account_of_our_own_every_account_is_heard() -> None:
    says = parse_event(event("foreign-account-state-terminated"), account=None)

    assert isinstance(says, StateChanged)


@pytest.mark.parametrize(
    ("name", "suspects", "cleared", "generation", "cause"),
    [
        ("stream-agent-suspects", (OTHER,), (), 7, "suspicion"),
        ("stream-agent-clears", (), (OTHER,), 7, "suspicion"),
        ("stream-agent-joins", (), (), 0, "joined"),
        ("stream-agent-acknowledges", (), (), 8, "acknowledged"),
    ],
)
def test_an_agent_is_heard_with_what_it_says_now_and_says_no_longer(
    name: str, suspects: tuple[str, ...], cleared: tuple[str, ...], generation: int, cause: str
) -> None:
    record = event(name)["Records"][0]

    (received,) = agent_reports(event(name))

    assert received.record == record["dynamodb"]["SequenceNumber"]
    assert received.says == AgentReported(
        event_id=record["eventID"],
        at=datetime.fromtimestamp(record["dynamodb"]["ApproximateCreationDateTime"], tz=UTC),
        instance=NODE,
        suspects=suspects,
        cleared=cleared,
        subnet="subnet-0123456789abcdef0",
        generation=generation,
        causes=(cause,),
    )


def test_the_key_says_who_speaks_and_a_field_that_says_otherwise_is_a_forgery() -> None:
    (received,) = agent_reports(event("stream-agent-forged-instance"))

    assert isinstance(received.says, Dropped)
    assert received.says.reason is DropReason.MALFORMED


def test_a_key_inside_the_image_does_not_hide_the_records_own() -> None:
    batch = event("stream-agent-suspects")
    batch["Records"][0]["dynamodb"]["NewImage"]["pk"] = {"S": f"AROAEXAMPLENODEROLE00:{OTHER}"}

    (received,) = agent_reports(batch)

    assert isinstance(received.says, AgentReported)
    assert received.says.instance == NODE


def test_changes_of_other_items_are_irrelevant() -> None:
    reasons = [received.says for received in agent_reports(event("stream-other-items"))]

    assert [says.reason for says in reasons if isinstance(says, Dropped)] == [DropReason.IRRELEVANT] * 2


def test_ticks_hints_and_edits_all_become_hints_in_the_queues_order() -> None:
    received = hints(event("queue-hints"), account=ACCOUNT)

    assert [one.record for one in received] == [one["messageId"] for one in event("queue-hints")["Records"]]
    assert [one.says.reason for one in received if isinstance(one.says, Hint)] == [
        "schedule",
        "failover of i-0123456789abcdef0",
        "routes edited rtb-0123456789abcdef0",
    ]


def test_messages_that_are_no_hints_are_counted_not_raised() -> None:
    received = hints(event("queue-malformed"), account=ACCOUNT)

    assert [type(one.says) for one in received] == [Dropped] * 3
    assert all(one.record for one in received)


def test_a_hint_survives_the_queue() -> None:
    hint = Hint("2f4b8a1e-0c3d-4e5f-9a6b-7c8d9e0f1a2b", AT, "failover")
    message = {"messageId": "m1", "body": HintBody.of(hint).model_dump_json()}

    (received,) = hints({"Records": [message]}, account=ACCOUNT)

    assert received.says == hint


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"S": "text"}, "text"),
        ({"N": "7"}, 7),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"L": [{"N": "1"}, {"S": "a"}]}, [1, "a"]),
        ({"M": {"a": {"M": {}}}}, {"a": {}}),
        ({"SS": ["a", "b"]}, ["a", "b"]),
        ({"B": "cG9kd2F5"}, b"podway"),
    ],
)
def test_attribute_values_are_read_as_dynamodb_spells_them(attribute: object, value: object) -> None:
    assert plain_value(attribute) == value


@pytest.mark.parametrize(
    "attribute", [{}, "S", {"S": 1}, {"N": "x"}, {"N": "NaN"}, {"L": "ab"}, {"X": "y"}, {"S": "a", "N": "1"}]
)
def test_what_is_no_attribute_value_is_refused(attribute: object) -> None:
    with pytest.raises(BadAttribute):
        plain_value(attribute)


# --- mutated events: anything may come by, and nothing may be raised --------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ALL = {path.stem: json.loads(path.read_text()) for path in sorted(EVENTS.glob("*.json"))}


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path inside *value*."""
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> Mapping[str, object]:
    """A documented event with up to three of its parts replaced by junk or removed."""
    changed: dict[str, Any] = json.loads(json.dumps(ALL[draw(st.sampled_from(sorted(ALL)))]))
    for _ in range(draw(st.integers(1, 3))):
        paths = places(changed)[1:]
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        parent: Any = changed
        for step in way:
            parent = parent[step]
        if draw(st.booleans()):
            parent[last] = draw(junk)
        else:
            del parent[last]
    return changed


@given(mutated() | st.dictionaries(st.text(max_size=8), junk, max_size=5))
def test_no_event_however_mangled_raises_anything(mangled: Mapping[str, object]) -> None:
    parse_event(mangled, account=ACCOUNT)
    agent_reports(mangled)
    hints(mangled, account=ACCOUNT)
    hints({"Records": [{"messageId": "m", "body": json.dumps(mangled)}]}, account=ACCOUNT)
