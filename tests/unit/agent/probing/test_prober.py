"""Rounds of probes over a wire that the test holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from podway.domain.addressing import Prefix
from podway_agent.probing.prober import Prober
from podway_agent.probing.suspicion import CALM_ROUNDS, HITS, MISSES, ProbeFinding
from podway_agent.probing.targets import ProbeTargets, Third, Watched


def address(last: int) -> Prefix:
    return Prefix.parse(f"100.64.0.{last}/32")


@dataclass
class Network:
    """Answers what is not lost. Marks lead through forwarders: slot 0 is i-f, slot 1 is i-g."""

    lost: set[tuple[int, str]] = field(default_factory=set)
    """Mark (0: straight) and the target that does not answer by it."""
    refusing: OSError | None = None
    opened: list[str] = field(default_factory=list)
    sent: list[tuple[int, str]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    def open(self, source: Prefix, _: bytes) -> Network:
        self.opened.append(source.first_address)
        return self

    def send(self, target: Prefix, serial: int, *, mark: int = 0) -> None:
        if self.refusing:
            raise self.refusing
        self.sent.append((mark, target.first_address))
        if (mark, target.first_address) not in self.lost:
            self.waiting.append(serial)

    def answers(self) -> Iterator[tuple[int, float]]:
        while self.waiting:
            yield self.waiting.pop(), time.time()

    def close(self) -> None:
        self.waiting.clear()


F, G, T = (
    Watched("i-f", 0, Prefix.parse("10.0.0.6/32"), address(64)),
    Watched("i-g", 1, Prefix.parse("10.0.0.7/32"), address(128)),
    Third("i-t", address(192)),
)
BOTH = ProbeTargets((), address(0), (F, G), (Third("i-f", address(64)), Third("i-g", address(128)), T))
ONE = ProbeTargets((), address(0), (F,), (Third("i-f", address(64)), T))
THROUGH_F, THROUGH_G, STRAIGHT = 0x70, 0x71, 0


@pytest.fixture
def network() -> Network:
    return Network()


def prober(
    network: Network, targets: ProbeTargets, told: list[frozenset[str]] | None = None, *before: str
) -> Prober:
    made = Prober(
        (told if told is not None else []).append,
        60.0,
        open_wire=network.open,
        suspected_before=frozenset(before),
    )
    made.take(targets)
    made.change_targets()
    return made


def turns(made: Prober, count: int) -> None:
    for _ in range(count + 1):  # the first only asks
        made.turn()


def test_a_round_is_three_probes_and_both_ways_are_counted(network: Network) -> None:
    made = prober(network, ONE)

    turns(made, 1)

    assert network.sent[:3] == [
        (STRAIGHT, "100.64.0.192"),
        (STRAIGHT, "100.64.0.64"),
        (THROUGH_F, "100.64.0.192"),
    ]
    assert made.figures.answered == {"relayed": 1, "direct": 2}
    assert made.standings["i-f"].last is ProbeFinding.RELAYS


def test_forwarders_share_the_straight_probes(network: Network) -> None:
    """Both are third nodes, too: whoever was asked once in a round is not asked again."""
    made = prober(network, BOTH)

    made.turn()

    assert len(network.sent) == len(set(network.sent))
    assert sum(mark != STRAIGHT for mark, _ in network.sent) == 2


def test_no_forwarder_answers_for_itself_and_third_nodes_take_turns(network: Network) -> None:
    made = prober(network, BOTH)

    turns(made, 8)

    relayed = [one for one in network.sent if one[0] == THROUGH_F]
    assert set(relayed) == {(THROUGH_F, "100.64.0.128"), (THROUGH_F, "100.64.0.192")}
    assert len(relayed) == 9
    assert (THROUGH_G, "100.64.0.128") not in network.sent


def test_three_misses_are_told_once_and_taken_back_after_the_run(network: Network) -> None:
    told: list[frozenset[str]] = []
    made = prober(network, ONE, told)
    network.lost = {(THROUGH_F, "100.64.0.192")}
    turns(made, MISSES - 1)
    early = told.copy()
    made.turn()
    suspected = made.standings["i-f"].suspected
    network.lost = set()
    turns(made, HITS + 1)

    assert early == []
    assert suspected is ProbeFinding.IDLE
    assert told == [frozenset({"i-f"}), frozenset()]


def test_a_forwarder_that_is_dead_does_not_spoil_the_word_on_another(network: Network) -> None:
    """Three nodes that all watch each other: the dead one is the other's third node."""
    told: list[frozenset[str]] = []
    targets = ProbeTargets((), address(0), (F, G), (Third("i-f", address(64)), Third("i-g", address(128))))
    made = prober(network, targets, told)
    network.lost = {(STRAIGHT, "100.64.0.64"), (THROUGH_F, "100.64.0.128"), (THROUGH_G, "100.64.0.64")}
    turns(made, 10)

    assert told == [frozenset({"i-f"})]
    assert made.standings["i-f"].suspected is ProbeFinding.DEAD
    assert made.standings["i-g"].last is ProbeFinding.UNKNOWN


def test_a_prober_whom_nobody_answers_doubts_itself(network: Network) -> None:
    told: list[frozenset[str]] = []
    made = prober(network, BOTH, told)
    network.lost = {
        (mark, f"100.64.0.{last}") for mark in (STRAIGHT, THROUGH_F, THROUGH_G) for last in (64, 128, 192)
    }
    turns(made, 10)

    assert made.doubtful
    assert told == []


def test_a_prober_that_was_cut_off_holds_nothing_against_anybody_for_a_while(network: Network) -> None:
    """Its way to the forwarder may open a second after the one to the third node."""
    told: list[frozenset[str]] = []
    made = prober(network, ONE, told)
    slow = {(STRAIGHT, "100.64.0.64"), (THROUGH_F, "100.64.0.192")}
    network.lost = slow | {(STRAIGHT, "100.64.0.192")}
    turns(made, 5)
    network.lost = slow
    turns(made, CALM_ROUNDS - 1)
    early = told.copy()
    turns(made, MISSES)

    assert early == []
    assert told == [frozenset({"i-f"})]
    assert not made.doubtful


def test_what_cannot_be_sent_is_no_miss_and_is_reported(network: Network) -> None:
    told: list[frozenset[str]] = []
    made = prober(network, ONE, told)
    network.refusing = OSError(101, "Network is unreachable")
    turns(made, 10)

    assert told == []
    assert made.fault == "relayed: Network is unreachable"
    assert made.figures.unsent == {"relayed": 11, "direct": 22}
    network.refusing = None
    turns(made, 1)
    assert made.fault == ""


def test_a_socket_that_cannot_be_had_is_tried_again(network: Network) -> None:
    refusals = iter([OSError(99, "Cannot assign requested address")])

    def refuse_once(source: Prefix, secret: bytes) -> Network:
        if error := next(refusals, None):
            raise error
        return network.open(source, secret)

    told: list[frozenset[str]] = []
    made = Prober(told.append, 60.0, open_wire=refuse_once)
    made.take(ONE)
    made.change_targets()
    made.turn()
    fault = made.fault
    turns(made, 1)

    assert fault == "100.64.0.0: Cannot assign requested address"
    assert made.standings["i-f"].last is ProbeFinding.RELAYS


def test_another_source_gets_another_socket(network: Network) -> None:
    made = prober(network, ONE)
    turns(made, 1)
    made.take(ProbeTargets((), address(1), (F,), (T,)))
    made.change_targets()
    turns(made, 1)

    assert network.opened == ["100.64.0.0", "100.64.0.1"]


def test_whoever_is_no_longer_watched_is_no_longer_suspected(network: Network) -> None:
    told: list[frozenset[str]] = []
    made = prober(network, BOTH, told)
    network.lost = {(THROUGH_F, "100.64.0.128"), (THROUGH_F, "100.64.0.192")}
    turns(made, 5)
    made.take(ProbeTargets((), address(0), (G,), (T,)))
    made.change_targets()

    assert told == [frozenset({"i-f"}), frozenset()]


def test_a_restart_takes_no_suspicion_back(network: Network) -> None:
    told: list[frozenset[str]] = []
    made = prober(network, ONE, told, "i-f")
    suspects = made.suspects
    turns(made, HITS - 1)
    before = told.copy()
    made.turn()

    assert suspects == {"i-f"}
    assert before == []
    assert told == [frozenset()]
