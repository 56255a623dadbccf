"""What the use cases may rely on in the store: the fake, and the adapter over DynamoDB's own conditions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from podway.adapters.dynamodb import DynamoStore
from podway.app.errors import Superseded
from podway.app.ports import LONGEST_LEASE, ClaimAnswer
from podway.app.stores import Store
from podway.domain.addressing import Prefix
from podway.domain.failover.decide import CLAIM_LASTS, SKEW, Card, CardRoute, Claim, Standby
from podway.domain.failover.pacing import LONGEST_DEBT, REFILL
from podway.domain.health.verdict import Evidence, Severity, Verdict, accuse, withdraw
from podway.domain.inventory import Epoch, HeldBlock, Member, ReleasedSpace
from podway.domain.members.maps import MapMember, SubnetMap
from podway.domain.model import NodeState
from podway.domain.signals import LifecycleHook, PendingHook
from podway_lab.stack.template import Place, Template

from tests.fakes.store import FakeStore
from tests.fakes.world import START

NODE, OTHER = "i-00000000000000001", "i-00000000000000002"
POD = Prefix.parse("100.64.0.0/20")
BLOCK = Prefix.parse("100.64.0.0/26")
ROUTE = CardRoute("rtb-1", POD, (Standby(OTHER, "eni-2"),), 2.5)
CARD = Card(NODE, "subnet-a", "eni-1", 3, (ROUTE,), cluster_size=9, watchers=("i-2", "i-3"))
MEMBER = Member(NODE, "subnet-a", "eni-1", "10.0.0.4", (HeldBlock(BLOCK, 1, ready=True),))
LATER = START + timedelta(seconds=60)
MUCH_LATER = START + timedelta(seconds=61)
MAP = SubnetMap(
    cluster="demo",
    subnet="subnet-a",
    pod_cidrs=(Prefix.parse("100.64.0.0/16"),),
    subnet_cidrs=(Prefix.parse("10.0.0.0/20"),),
    reachable_here=(POD,),
    led_here=(POD,),
    elsewhere=(),
    forwarders=(NODE,),
    members=(MapMember(NODE, "10.0.0.4", "eni-1", NodeState.READY, MEMBER.blocks),),
    generation=1,
    watches=((NODE, ("i-2", "i-3")),),
)


def claim(event: str, severity: Severity = Severity.INDIRECT, *, until: datetime = LATER) -> Claim:
    return Claim(event, severity, until)


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore(epoch=None)
        return
    properties = Template(
        Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place()
    ).properties("Table")
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-west-2", aws_access_key_id="key", aws_secret_access_key="secret"
        )
        client.create_table(TableName="podway", **{key: properties[key] for key in wanted})
        yield DynamoStore(client, table="podway", cluster="demo")


def test_one_owner_at_a_time_holds_the_lease_until_it_is_released_or_expires(store: Store) -> None:
    assert store.acquire_lease("one", now=START, until=LATER)
    assert not store.acquire_lease("two", now=START, until=LATER)
    assert store.acquire_lease("one", now=START, until=LATER)
    assert store.acquire_lease("two", now=MUCH_LATER, until=MUCH_LATER + timedelta(seconds=60))
    store.release_lease("one")
    assert not store.acquire_lease("three", now=MUCH_LATER, until=MUCH_LATER)
    store.release_lease("two")
    assert store.acquire_lease("three", now=MUCH_LATER, until=MUCH_LATER)


def test_what_is_written_under_the_lease_is_recalled_and_forgotten(store: Store) -> None:
    store.acquire_lease("me", now=START, until=LATER)
    gone = replace(MEMBER, id=OTHER, gone_at=START, blocks=())

    store.save_inventory("me", members=(MEMBER, gone), forgotten=(), supernets={"subnet-a": (POD,)})
    store.record_routes("me", "rtb-1", frozenset({POD, BLOCK}))
    store.publish_map(MAP, now=START)
    remembered = store.recall()
    store.save_inventory("me", members=(), forgotten=(OTHER,), supernets={})

    assert remembered.members == (MEMBER, gone)
    assert remembered.supernets == {"subnet-a": (POD,)}
    assert remembered.records == {"rtb-1": frozenset({POD, BLOCK})}
    assert remembered.maps == {"subnet-a": MAP}
    assert store.recall().members == (MEMBER,)


def test_what_leaves_and_when_it_was_given_back_is_recalled_until_it_is_reclaimed(store: Store) -> None:
    store.acquire_lease("me", now=START, until=LATER)
    half, other = (ReleasedSpace(one, "subnet-a") for one in (POD.at(21), BLOCK))
    resting = replace(half, gone_at=START, generation=7)
    nothing: dict[str, tuple[Prefix, ...]] = {}

    first = store.recall()
    store.save_inventory(
        "me", members=(), forgotten=(), supernets=nothing, released=[half, other], given_back=START
    )
    store.save_inventory(
        "me", members=(), forgotten=(), supernets=nothing, released=[resting], reclaimed=[other.prefix]
    )

    assert (first.released, first.given_back) == ((), None)
    assert (store.recall().released, store.recall().given_back) == ((resting,), START)
    assert (store.recall().members, store.recall().supernets) == ((), {})


def test_who_lost_the_lease_writes_nothing(store: Store) -> None:
    store.acquire_lease("old", now=START, until=LATER)
    store.acquire_lease("new", now=MUCH_LATER, until=MUCH_LATER + timedelta(seconds=60))

    with pytest.raises(Superseded):
        store.save_inventory("old", members=(MEMBER,), forgotten=(), supernets={})
    with pytest.raises(Superseded):
        store.record_routes("old", "rtb-1", frozenset({POD}))

    assert store.recall().members == ()
    assert store.recall().records == {}


def test_an_older_map_never_replaces_a_newer_one(store: Store) -> None:
    store.publish_map(replace(MAP, generation=2), now=START)

    with pytest.raises(Superseded):
        store.publish_map(replace(MAP, generation=2, forwarders=()), now=START)


def test_a_map_of_a_later_epoch_replaces_any_of_an_earlier_one(store: Store) -> None:
    """Case e: the store has gone back to generation 4, and agents have seen 8."""
    store.publish_map(replace(MAP, generation=8), now=START)
    restored = replace(MAP, epoch=2, generation=5)

    store.publish_map(restored, now=START)
    with pytest.raises(Superseded):
        store.publish_map(replace(MAP, generation=9), now=START)
    with pytest.raises(Superseded):
        store.publish_map(restored, now=START)
    store.acquire_lease("me", now=START, until=LATER)
    store.save_inventory("me", members=(MEMBER,), forgotten=(), supernets={})

    assert store.recall().maps == {"subnet-a": restored}


def test_an_epoch_may_be_announced_before_there_is_a_map_of_it(store: Store) -> None:
    store.publish_map(replace(MAP, generation=4), now=START)
    for epoch in (2, 2, 1):
        store.announce_epoch("subnet-a", epoch)
    store.announce_epoch("subnet-b", 2)
    store.acquire_lease("me", now=START, until=LATER)
    store.save_inventory("me", members=(MEMBER,), forgotten=(), supernets={})
    before = store.recall().maps
    later = replace(MAP, epoch=2, generation=5)
    first = replace(MAP, subnet="subnet-b", epoch=2, generation=1)

    store.publish_map(later, now=START)
    store.publish_map(first, now=START)

    assert before == {"subnet-a": replace(MAP, generation=4)}
    assert store.recall().maps["subnet-a"] == later


def test_the_epoch_is_recalled_and_is_no_inventory(store: Store) -> None:
    store.acquire_lease("me", now=START, until=LATER)
    epoch = Epoch(2, "table-2", START, is_taken_up=False, is_inherited=True)

    store.save_epoch("me", epoch)
    remembered = store.recall()
    store.save_inventory("me", members=(MEMBER,), forgotten=(), supernets={})

    assert remembered.epoch == epoch
    assert remembered.is_empty
    assert (store.recall().epoch, store.recall().members) == (epoch, (MEMBER,))
    assert not store.recall().is_empty
    with pytest.raises(Superseded):
        store.save_epoch("you", epoch)


def test_dropped_buckets_are_full(store: Store) -> None:
    first = store.take_tokens("ReplaceRoute", 5, now=START)
    store.drop_buckets()

    assert store.take_tokens("ReplaceRoute", 5, now=START) == first


def test_a_card_is_rewritten_only_as_it_was_read(store: Store) -> None:
    assert store.put_card(CARD)
    assert not store.put_card(CARD)
    assert store.put_card(replace(CARD, version=1, routes=()))

    (card,) = store.recall().cards.values()
    assert card == replace(CARD, version=2, routes=())


def test_a_claim_belongs_to_its_event_until_a_graver_reason_or_its_expiry(store: Store) -> None:
    store.put_card(CARD)

    first = store.claim_card(NODE, claim("alarm"), now=START)
    again = store.claim_card(NODE, claim("alarm"), now=START)
    lesser = store.claim_card(NODE, claim("drain", Severity.HANDOVER), now=START)
    same = store.claim_card(NODE, claim("other alarm"), now=START)
    graver = store.claim_card(NODE, claim("dead", Severity.DEFINITIVE), now=START)
    late = store.claim_card(NODE, claim("drain", Severity.HANDOVER), now=MUCH_LATER)

    answers = [answer for answer, _ in (first, again, lesser, same, graver, late)]
    yes, no = ClaimAnswer.CLAIMED, ClaimAnswer.TAKEN
    assert answers == [yes, yes, no, no, yes, yes]
    assert first[1] is not None
    assert first[1].routes == (ROUTE,)
    assert lesser[1] is not None


def test_who_has_no_card_is_no_member_and_gets_none(store: Store) -> None:
    assert store.claim_card(NODE, claim("alarm"), now=START) == (ClaimAnswer.NOT_A_MEMBER, None)
    assert store.recall().cards == {}


def test_a_finished_claim_stops_what_is_no_graver_and_a_rewritten_card_is_free_again(store: Store) -> None:
    store.put_card(CARD)
    _, card = store.claim_card(NODE, claim("alarm"), now=START)
    assert card is not None

    assert store.finish_card(card)
    same, done = store.claim_card(NODE, claim("other alarm"), now=MUCH_LATER)
    graver, _ = store.claim_card(NODE, claim("dead", Severity.DEFINITIVE), now=MUCH_LATER)
    assert done is not None
    assert store.put_card(replace(CARD, version=done.version + 1))

    assert (same, graver) == (ClaimAnswer.DONE, ClaimAnswer.CLAIMED)
    assert store.claim_card(NODE, claim("dead"), now=START)[0] is ClaimAnswer.CLAIMED


def test_one_delivery_of_an_event_holds_its_claim(store: Store) -> None:
    """Two at once would make every call twice. What was claimed before claimants were kept is anybody's."""
    one, other = (replace(claim("alarm"), claimant=name) for name in ("one", "other"))
    store.put_card(CARD)

    answers = [store.claim_card(NODE, wanted, now=START)[0] for wanted in (one, one, other)]
    _, held = store.claim_card(NODE, one, now=START)
    late = store.claim_card(NODE, other, now=MUCH_LATER)[0]
    assert held is not None
    finished = store.finish_card(held)

    yes, no = ClaimAnswer.CLAIMED, ClaimAnswer.TAKEN
    assert answers == [yes, yes, no]
    assert late is yes
    assert not finished, "it is the other's by now"
    store.put_card(replace(CARD, node="i-2", version=0))
    store.claim_card("i-2", claim("alarm"), now=START)
    assert store.claim_card("i-2", one, now=START)[0] is yes


def test_a_claim_that_its_claimant_leaves_is_any_deliverys_of_the_event_and_nobody_elses(
    store: Store,
) -> None:
    one, other = (replace(claim("alarm"), claimant=name) for name in ("one", "other"))
    store.put_card(CARD)
    store.claim_card(NODE, one, now=START)

    store.leave_claim(NODE, other)
    kept = store.claim_card(NODE, other, now=START)[0]
    store.leave_claim(NODE, one)
    strange = store.claim_card(NODE, claim("other alarm"), now=START)[0]
    answer, card = store.claim_card(NODE, other, now=START)
    assert card is not None
    assert store.finish_card(card)
    store.leave_claim(NODE, other)
    store.leave_claim("i-nobody", other)

    assert (kept, strange, answer) == (ClaimAnswer.TAKEN, ClaimAnswer.TAKEN, ClaimAnswer.CLAIMED)
    store.put_card(replace(CARD, node="i-2", version=0))
    store.claim_card("i-2", one, now=START)
    store.leave_claim("i-2", replace(one, expires=START))
    assert store.claim_card("i-2", claim("other alarm"), now=START + timedelta(seconds=1))[0] is (
        ClaimAnswer.CLAIMED
    )
    assert store.claim_card(NODE, one, now=START)[0] is ClaimAnswer.DONE


def test_a_claim_shows_in_the_version_so_that_an_older_view_cannot_undo_it(store: Store) -> None:
    store.put_card(CARD)
    store.claim_card(NODE, claim("alarm"), now=START)

    assert not store.put_card(replace(CARD, version=1))


def test_a_card_that_grew_is_not_finished_and_a_done_claim_is_lifted_by_new_routes(store: Store) -> None:
    store.put_card(CARD)
    _, card = store.claim_card(NODE, claim("alarm"), now=START)
    assert card is not None

    store.extend_card(NODE, [replace(ROUTE, table="rtb-2")])
    grew = store.finish_card(card)
    _, card = store.claim_card(NODE, claim("alarm"), now=START)
    assert card is not None
    finished = store.finish_card(card)
    store.extend_card(NODE, [replace(ROUTE, table="rtb-3")])
    answer, grown = store.claim_card(NODE, claim("another"), now=START)

    assert (grew, finished, answer) == (False, True, ClaimAnswer.CLAIMED)
    assert grown is not None
    assert [route.table for route in grown.routes] == ["rtb-1", "rtb-2", "rtb-3"]


def test_verdicts_are_changed_and_forgotten(store: Store) -> None:
    evidence = Evidence("alarm:x", Severity.INDIRECT, START, "why")

    after = store.change_verdict(NODE, "subnet-a", lambda verdict: accuse(verdict, evidence))
    store.change_verdict(OTHER, "subnet-a", lambda verdict: verdict)
    found = store.verdicts()
    store.forget_verdict(after)

    assert found == {NODE: after}
    assert after.evidence == {"alarm:x": evidence}
    assert store.verdicts() == {}


def test_a_verdict_that_has_changed_since_it_was_read_is_not_forgotten(store: Store) -> None:
    first = store.change_verdict(
        NODE, "subnet-a", lambda one: accuse(one, Evidence("alarm:x", Severity.INDIRECT, START))
    )
    calm = store.change_verdict(
        NODE,
        "subnet-a",
        lambda one: withdraw(one, "alarm:x", as_of=LATER, now=LATER, hold_down=timedelta(seconds=60)),
    )
    store.forget_verdict(first)
    kept = store.verdicts()
    store.forget_verdict(calm)
    store.forget_verdict(calm)

    assert kept == {NODE: calm}
    assert calm.withdrawn == {"alarm:x": LATER}
    assert store.verdicts() == {}


def test_whoever_has_just_seen_a_verdict_changes_it_unless_it_has_changed_since(store: Store) -> None:
    one, other = (Evidence(f"alarm:{name}", Severity.INDIRECT, START) for name in "ab")

    first = store.change_verdict(
        NODE, "subnet-a", partial(accuse, evidence=one), seen=Verdict(NODE, "subnet-a")
    )
    second = store.change_verdict(
        NODE, "subnet-a", partial(accuse, evidence=other), seen=Verdict(NODE, "subnet-a")
    )
    third = store.change_verdict(NODE, "subnet-a", partial(accuse, evidence=one), seen=second)

    assert first.evidence.keys() == {"alarm:a"}
    assert second.evidence.keys() == {"alarm:a", "alarm:b"}, "what was seen is old, and nothing is lost"
    assert third == second == store.verdicts()[NODE]


def test_a_card_is_shown_as_it_stands(store: Store) -> None:
    store.put_card(CARD)

    assert store.card(NODE) == replace(CARD, version=1)
    assert store.card(OTHER) is None


def test_tokens_are_debited_from_one_bucket_for_each_kind_and_come_back_with_time(store: Store) -> None:
    def full_after(kind: str, count: int, now: datetime) -> float:
        wait = store.take_tokens(kind, count, now=now) - now
        return round(wait.total_seconds(), 3)

    assert full_after("ReplaceRoute", 10, START) == 2.0
    assert full_after("ReplaceRoute", 5, START) == 3.0
    assert full_after("CreateRoute", 1, START) == 0.2
    assert full_after("ReplaceRoute", 1, START + timedelta(seconds=1)) == 2.2
    assert full_after("ReplaceRoute", 1, START + timedelta(hours=1)) == 0.2


AHEAD = timedelta(hours=6)
"""How far a person's clock may be ahead, and worse."""


def test_a_bucket_that_lies_ahead_is_cut(store: Store) -> None:
    """Case x: a laptop six hours ahead debited it; nobody waits for six hours."""
    store.take_tokens("ReplaceRoute", 5, now=START + AHEAD)

    first = store.take_tokens("ReplaceRoute", 5, now=START)
    second = store.take_tokens("ReplaceRoute", 5, now=START)

    assert first - START == LONGEST_DEBT + 5 * REFILL
    assert second - START == LONGEST_DEBT + 5 * REFILL, "no deeper than that"
    assert store.take_tokens("ReplaceRoute", 5, now=second) - second == 5 * REFILL


def test_a_lease_that_lies_ahead_is_cut_to_the_longest_there_is(store: Store) -> None:
    """Case x: its writer's clock is ahead, and it was killed."""
    assert store.acquire_lease("laptop", now=START + AHEAD, until=START + AHEAD + LONGEST_LEASE)

    assert not store.acquire_lease("a run", now=START, until=START + LONGEST_LEASE), "it may live"
    almost, after = START + LONGEST_LEASE - timedelta(seconds=1), START + timedelta(seconds=126)
    assert not store.acquire_lease("a run", now=almost, until=almost + LONGEST_LEASE)
    assert store.acquire_lease("a run", now=after, until=after + LONGEST_LEASE)


def test_a_lease_that_lies_where_it_may_is_not_cut(store: Store) -> None:
    ends = START + LONGEST_LEASE
    store.acquire_lease("one", now=START, until=ends)

    for seconds in (0, 60, 125):
        now = START + timedelta(seconds=seconds)
        assert not store.acquire_lease("two", now=now, until=now + LONGEST_LEASE)


def test_a_claim_that_lies_ahead_holds_nothing(store: Store) -> None:
    """Case x: it was made by a clock that is ahead, and its maker was killed."""
    store.put_card(CARD)
    store.claim_card(NODE, claim("laptop", until=START + AHEAD), now=START + AHEAD - CLAIM_LASTS)

    answer, card = store.claim_card(NODE, claim("event"), now=START)

    assert answer is ClaimAnswer.CLAIMED
    assert card is not None
    assert card.claim == claim("event")


def test_a_claim_by_a_clock_that_is_a_little_ahead_holds(store: Store) -> None:
    store.put_card(CARD)
    store.claim_card(NODE, claim("one", until=START + CLAIM_LASTS + SKEW), now=START + SKEW)

    answer, _ = store.claim_card(NODE, claim("two"), now=START)

    assert answer is ClaimAnswer.TAKEN


def test_a_hook_waits_since_it_was_kept_first_until_it_is_dropped(store: Store) -> None:
    hook = LifecycleHook("workers", "podway", "token", NODE)

    store.keep_hook(hook, now=START)
    store.keep_hook(replace(hook, token="another"), now=LATER)
    waiting = store.recall().hooks
    store.drop_hook(NODE)
    store.drop_hook(NODE)

    assert waiting == {NODE: PendingHook(replace(hook, token="another"), START)}
    assert store.recall().hooks == {}
