from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from podway.domain.addressing import Prefix
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, Snapshot, pack
from podway_agent.host.disk import StateDirectory
from podway_agent.host.identity import Identity, MetadataAway
from podway_agent.settings import Settings
from podway_agent.store.client import StoreAway, StoreRefused, Version
from podway_agent.store.sync import COUNT_SECONDS, StoreSync
from podway_agent.usage import NO_USAGE, Usage

from tests.unit.agent.snapshots import CLUSTER, HERE, SUBNET, snapshot

SELF = Identity(HERE, SUBNET, "10.0.0.10", "02:00:00:00:00:0a", "us-west-2", f"AROAX:{HERE}")
FAST, SLOW, HEARTBEAT = 2.0, 30.0, 300.0


@dataclass
class FakeStore:
    """A store that can be away, stale, or refuse who we are."""

    packed: PackedSnapshot | None = None
    fault: StoreAway | None = None
    calls: list[str] = field(default_factory=list)
    reports: list[AgentItem] = field(default_factory=list)
    accepts: str = SELF.userid

    def version(self, subnet: str) -> Version | None:
        self.call("version")
        packed = self.packed
        return Version(packed.generation, packed.checksum, packed.epoch) if packed else None

    def body(self, subnet: str) -> PackedSnapshot | None:
        self.call("body")
        return self.packed

    def report(self, item: AgentItem) -> None:
        self.call("report")
        if item.pk != self.accepts:
            raise StoreRefused("not your item")
        self.reports.append(item)

    def call(self, name: str) -> None:
        self.calls.append(name)
        if self.fault:
            raise self.fault


@dataclass
class World:
    """The store's side with a clock in our hands."""

    state: StateDirectory
    store: FakeStore = field(default_factory=FakeStore)
    saved: Snapshot | None = None
    now: float = 1000.0
    delivered: list[Snapshot] = field(default_factory=list)
    renewed: Identity | None = None
    usage: Usage = NO_USAGE
    uncountable: bool = False

    def __post_init__(self) -> None:
        self.sync = StoreSync(
            settings=Settings(cluster=CLUSTER, table="podway"),
            identity=SELF,
            store=self.store,
            state=self.state,
            deliver=self.delivered.append,
            renew=self.renew,
            newest=self.saved,
            count=self.count,
            chance=lambda low, high: (low + high) / 2,
            clock=lambda: self.now,
        )

    def renew(self) -> Identity:
        if self.renewed is None:
            raise MetadataAway("no answer")
        return self.renewed

    def count(self, _: Snapshot) -> Usage:
        if self.uncountable:
            raise PermissionError("not yours to read")
        return self.usage

    def put(self, told: Snapshot) -> None:
        self.store.packed = pack(told)

    def pass_time(self, seconds: float) -> None:
        """Let the clock run, stepping whenever the store's side asks for it."""
        end = self.now + seconds
        while True:
            pause = self.sync.step()
            assert pause > 0, "it never rests"
            if self.now + pause > end:
                break
            self.now += pause
        self.now = end


@pytest.fixture
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(StateDirectory(tmp_path_factory.mktemp("state")))


def test_a_new_node_joins_and_obeys_what_it_reads(world: World) -> None:
    world.put(snapshot(generation=4))

    world.sync.step()

    assert [(item.cause, item.generation) for item in world.store.reports] == [("joined", 0)]
    assert [told.generation for told in world.delivered] == [4]
    assert world.state.load_snapshot(cluster=CLUSTER, subnet=SUBNET) == snapshot(generation=4)


def test_it_acknowledges_only_what_the_kernel_holds(world: World) -> None:
    world.put(snapshot(generation=4))
    world.pass_time(100)

    assert {item.generation for item in world.store.reports} == {0}

    world.sync.kernel_holds(4)
    world.sync.step()

    assert (world.store.reports[-1].cause, world.store.reports[-1].generation) == ("acknowledged", 4)


def test_the_body_is_read_only_when_the_generation_changed(world: World) -> None:
    world.put(snapshot(generation=4))
    world.pass_time(300)
    assert world.store.calls.count("body") == 1

    world.put(snapshot(generation=5))
    world.pass_time(60)

    assert world.store.calls.count("body") == 2
    assert [told.generation for told in world.delivered] == [4, 5]


def test_an_older_generation_is_never_obeyed(world: World) -> None:
    world.put(snapshot(generation=7))
    world.sync.step()
    world.put(snapshot(generation=6))

    world.pass_time(300)

    assert [told.generation for told in world.delivered] == [7]
    kept = world.state.load_snapshot(cluster=CLUSTER, subnet=SUBNET)
    assert kept is not None
    assert kept.generation == 7


def test_a_stale_body_is_not_obeyed_and_the_next_poll_gets_the_new_one(world: World) -> None:
    world.put(snapshot(generation=7))
    world.sync.step()
    fresh = pack(snapshot(generation=8))
    stale = world.store.packed
    answers = [stale, fresh]
    world.store.packed = fresh
    world.store.body = lambda subnet: answers.pop(0)  # type: ignore[method-assign]  # one stale read

    world.pass_time(100)

    assert answers == [], "the stale read this test is about never happened"
    assert [told.generation for told in world.delivered] == [7, 8]


@pytest.mark.parametrize("fault", ["cluster", "subnet", "bytes"])
def test_a_snapshot_of_others_or_a_damaged_one_is_not_obeyed(world: World, fault: str) -> None:
    packed = pack(snapshot(generation=2, **({fault: "other"} if fault != "bytes" else {})))
    world.store.packed = packed.model_copy(update={"body": b"x"}) if fault == "bytes" else packed

    world.pass_time(100)

    assert "body" in world.store.calls
    assert world.delivered == []
    assert world.state.load_snapshot(cluster=CLUSTER, subnet=SUBNET) is None


def test_a_restarted_agent_takes_nothing_back(tmp_path: object, world: World) -> None:
    world = replace(world, saved=snapshot(generation=9))
    world.put(snapshot(generation=9))

    world.sync.step()
    assert world.store.reports == []

    world.sync.kernel_holds(9)
    world.sync.step()

    assert [item.generation for item in world.store.reports] == [9]


def test_polls_are_fast_while_joining_and_slow_when_ready(world: World) -> None:
    world.pass_time(30)
    joining = world.store.calls.count("version")
    world.put(snapshot(generation=1))
    world.pass_time(FAST)
    before = world.store.calls.count("version")
    world.pass_time(300)

    assert joining == 16
    assert world.store.calls.count("version") - before == 300 / SLOW


def test_a_heartbeat_is_written_on_time(world: World) -> None:
    world.put(snapshot(generation=1))
    world.sync.step()
    world.sync.kernel_holds(1)
    world.sync.step()
    world.store.reports.clear()

    world.pass_time(3 * HEARTBEAT + 1)

    assert [item.cause for item in world.store.reports] == ["heartbeat"] * 3


def test_an_outage_of_ten_minutes_is_waited_out_quietly(world: World) -> None:
    world.put(snapshot(generation=1, forwarders=(HERE,)))
    world.sync.step()
    world.sync.kernel_holds(1)
    world.sync.step()
    world.store.calls.clear()
    world.store.fault = StoreAway("no answer")

    world.pass_time(600)
    away = len(world.store.calls)
    world.store.fault = None
    world.put(snapshot(generation=2, forwarders=(HERE,)))
    world.pass_time(SLOW)

    assert 600 / SLOW <= away <= 600 / SLOW + 6
    assert [told.generation for told in world.delivered] == [1, 2]
    assert world.sync.failures == 0


def test_news_for_a_store_that_is_away_waits_for_its_turn(world: World) -> None:
    world.put(snapshot(generation=1))
    world.sync.step()
    world.store.fault = StoreAway("no answer")
    world.store.calls.clear()
    world.sync.kernel_holds(1)

    for _ in range(50):
        world.sync.step()

    assert world.store.calls == ["report"]
    world.store.fault = None
    world.pass_time(SLOW)
    assert world.store.reports[-1].generation == 1


def test_an_exchanged_role_is_asked_for_and_used(world: World) -> None:
    world.renewed = replace(SELF, userid=f"AROAY:{HERE}")
    world.store.accepts = world.renewed.userid

    world.pass_time(SLOW)

    assert [item.pk for item in world.store.reports] == [world.renewed.userid]


def test_refused_and_nobody_knows_who_we_are_is_no_end(world: World) -> None:
    world.store.accepts = "AROAZ:i-0a"

    world.pass_time(300)

    assert world.sync.failures > 3
    assert world.store.reports == []


def test_jitter_keeps_agents_apart(world: World) -> None:
    world.sync.chance = lambda low, high: high

    assert world.sync.step() == pytest.approx(FAST * 1.2)


def settled(world: World) -> None:
    """Its one snapshot is held and acknowledged, and its first counts are done."""
    world.put(snapshot(generation=1))
    world.sync.step()
    world.sync.kernel_holds(1)
    world.usage = Usage(used=10, room=61, blocks=1)
    world.pass_time(COUNT_SECONDS + 1)
    world.store.reports.clear()


def test_a_filling_node_asks_for_a_block_at_once_and_only_once(world: World) -> None:
    settled(world)

    world.usage = Usage(used=49, room=61, blocks=1)
    world.pass_time(4 * COUNT_SECONDS)

    assert [(item.cause, item.blocks_wanted) for item in world.store.reports] == [("addresses", 2)]


def test_it_repeats_the_wish_until_the_block_comes_and_is_quiet_then(world: World) -> None:
    settled(world)
    world.usage = Usage(used=49, room=61, blocks=1)
    world.pass_time(2 * HEARTBEAT)
    asked = [(item.cause, item.blocks_wanted) for item in world.store.reports]
    world.store.reports.clear()

    world.usage = Usage(used=49, room=122, blocks=2)
    world.pass_time(2 * HEARTBEAT)

    assert asked == [("addresses", 2)] * 2
    assert [(item.cause, item.blocks_wanted) for item in world.store.reports] == [("heartbeat", 2)] * 2


def test_it_asks_for_a_third_block_when_two_are_full(world: World) -> None:
    settled(world)
    for usage in (Usage(49, 61, 1), Usage(61, 122, 2), Usage(99, 122, 2)):
        world.usage = usage
        world.pass_time(2 * COUNT_SECONDS)

    assert [item.blocks_wanted for item in world.store.reports] == [2, 3]


def test_a_wish_waits_for_a_store_that_is_away(world: World) -> None:
    settled(world)
    world.store.fault = StoreAway("no answer")
    world.usage = Usage(used=49, room=61, blocks=1)
    world.pass_time(300)
    assert world.sync.failures, "the outage this test is about never happened"

    world.store.fault = None
    world.pass_time(SLOW)

    assert world.store.reports[-1].blocks_wanted == 2


def test_a_count_that_fails_leaves_the_last_one_standing_and_is_said_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settled(world)
    world.uncountable = True

    world.pass_time(10 * COUNT_SECONDS)

    assert world.sync.usage == Usage(used=10, room=61, blocks=1)
    assert [record.message for record in caplog.records].count("addresses in use not counted") == 1


F, G = "i-0f", "i-0e"


def told(world: World) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(item.cause, item.suspects, item.suspecting) for item in world.store.reports]


def test_a_suspicion_is_written_at_once_and_taken_back_at_once(world: World) -> None:
    settled(world)
    moments = []
    for suspects in ({F}, {F, G}, set[str]()):
        world.sync.suspect(frozenset(suspects))
        world.sync.step()
        moments.append(len(world.store.reports))

    assert moments == [1, 2, 3]
    assert told(world) == [("suspicion", (F,), True), ("suspicion", (G, F), True), ("suspicion", (), False)]
    assert {item.generation for item in world.store.reports} == {1}


def test_a_heartbeat_repeats_the_suspicion_and_wakes_nobody(world: World) -> None:
    settled(world)
    world.sync.suspect(frozenset({F}))
    world.pass_time(HEARTBEAT + 1)

    assert told(world) == [("suspicion", (F,), True), ("heartbeat", (F,), True)]


def test_a_suspicion_waits_for_a_store_that_is_away(world: World) -> None:
    settled(world)
    world.store.fault = StoreAway("gone")
    world.sync.suspect(frozenset({F}))
    world.pass_time(SLOW)
    silence = list(world.store.reports)
    world.store.fault = None
    world.pass_time(SLOW * 2)

    assert silence == []
    assert told(world)[:1] == [("suspicion", (F,), True)]


def test_what_the_last_process_suspected_is_repeated_and_no_news(world: World) -> None:
    sync = replace(world.sync, suspects=frozenset({F}))
    sync.step()
    sync.kernel_holds(1)
    sync.step()

    assert [item.suspects for item in world.store.reports] == [(F,), (F,)]
    assert "suspicion" not in {item.cause for item in world.store.reports}


def test_what_coincides_with_a_suspicion_is_said_too(world: World) -> None:
    """A stack that reads one cause alone hears the gravest."""
    settled(world)
    world.sync.kernel_holds(2)
    world.sync.suspect(frozenset({F}))

    world.sync.step()

    (item,) = world.store.reports
    assert (item.cause, item.causes, item.generation) == ("suspicion", ("suspicion", "acknowledged"), 2)


# the store's epochs


def blocks(*cidrs: str) -> tuple[Prefix, ...]:
    return tuple(map(Prefix.parse, cidrs))


def test_a_snapshot_of_a_later_epoch_is_obeyed_whatever_its_generation(world: World) -> None:
    """Case e: the agent holds generation 8, and the restored store goes on with 5."""
    world.put(snapshot(generation=8))
    world.sync.step()
    world.sync.kernel_holds(8)
    world.pass_time(SLOW)

    world.put(snapshot(generation=5, epoch=2))
    world.pass_time(2 * SLOW)
    world.sync.kernel_holds(5, 2)
    world.sync.step()

    assert [(told.epoch, told.generation) for told in world.delivered] == [(1, 8), (2, 5)]
    said = [(item.epoch, item.generation, item.cause) for item in world.store.reports]
    assert said == [(1, 0, "joined"), (1, 8, "acknowledged"), (2, 0, "joined"), (2, 5, "acknowledged")]
    kept = world.state.load_snapshot(cluster=CLUSTER, subnet=SUBNET)
    assert kept is not None
    assert (kept.epoch, kept.generation) == (2, 5)


def test_a_snapshot_of_an_earlier_epoch_is_never_obeyed(world: World) -> None:
    world.put(snapshot(generation=5, epoch=2))
    world.sync.step()
    world.put(snapshot(generation=900))

    world.pass_time(300)

    assert [(told.epoch, told.generation) for told in world.delivered] == [(2, 5)]
    assert {item.epoch for item in world.store.reports[1:]} == {2}


def test_what_pods_hold_is_said_as_soon_as_an_epoch_is_announced(world: World) -> None:
    """The control plane gives out no map of a new epoch before every node has said it."""
    world.sync.held_here = lambda _: blocks("100.64.0.0/26", "100.64.9.7/32")
    world.put(snapshot(generation=8))
    world.sync.step()
    world.sync.kernel_holds(8)
    world.pass_time(SLOW)
    announced = Version(4, "", 2)
    world.store.version = lambda subnet: announced  # type: ignore[method-assign]  # told before the map
    reports = len(world.store.reports)

    world.pass_time(2 * SLOW)

    (item,) = world.store.reports[reports:]
    assert (item.epoch, item.generation, item.cause) == (2, 0, "joined")
    assert item.blocks == blocks("100.64.0.0/26", "100.64.9.7/32")
    assert [told.generation for told in world.delivered] == [8], "a map of the former epoch was obeyed again"


def test_what_nobody_could_look_up_at_first_is_said_when_somebody_can(world: World) -> None:
    def unreadable(_: Snapshot | None) -> tuple[Prefix, ...]:
        raise OSError("no such directory")

    world.sync.held_here = unreadable
    world.pass_time(SLOW)
    before = [item.blocks for item in world.store.reports]
    world.sync.held_here = lambda _: ()
    world.pass_time(SLOW)

    assert before == [None]
    assert [item.blocks for item in world.store.reports] == [None, ()]


def test_a_restarted_agent_goes_on_in_the_epoch_that_it_knew(world: World) -> None:
    world = replace(world, saved=snapshot(generation=5, epoch=2))
    world.put(snapshot(generation=5, epoch=2))

    world.sync.step()
    world.sync.kernel_holds(5, 2)
    world.sync.step()

    assert [(item.epoch, item.generation) for item in world.store.reports] == [(2, 5)]
