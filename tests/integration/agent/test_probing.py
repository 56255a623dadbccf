"""Probing over real kernels: what each fault of a forwarder, a third node or the prober looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot, Watch
from podway_agent.dataplane import Dataplane
from podway_agent.host.identity import Identity
from podway_agent.probing.echo import EchoSocket
from podway_agent.probing.prober import Prober
from podway_agent.probing.suspicion import ProbeFinding, Standing
from podway_lab.fabric.counting import count_packets
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host

from tests.integration.agent.node import settings, soon
from tests.lab.handmade import SUBNETS, SUPERNETS, address, attach, block, interface
from tests.unit.agent.snapshots import member, snapshot

pytestmark = pytest.mark.fabric

PROBER, FORWARDER = "a1", "a2"
NODES = ("a1", "a2", "a3", "a4")
INTERVAL = 0.02


class Subnet:
    """Four nodes with the agent's own dataplane; ``a1`` watches ``a2``, ``a3`` and ``a4`` answer."""

    def __init__(self, fabric: Fabric, directory: Path) -> None:
        fabric.add_subnet("subnet-a", SUBNETS["a"])
        self.hosts: dict[str, Host] = {}
        self.planes: dict[str, Dataplane] = {}
        for name in NODES:
            host = self.hosts[name] = attach(fabric, name)
            fabric.set_source_dest_check(interface(name), on=False)
            own = settings(directory / name)
            who = Identity(f"i-{name}", "subnet-a", address(name), "", "us-west-2", "")
            self.planes[name] = host.call(partial(Dataplane, own, who))
            self.tell(name)
        self.told: list[frozenset[str]] = []
        self.prober = Prober(self.told.append, INTERVAL, open_wire=partial(open_inside, self.hosts[PROBER]))
        self.prober.take(self.planes[PROBER].targets)
        self.thread = threading.Thread(target=self.prober.run, daemon=True)
        self.thread.start()

    def tell(self, name: str) -> None:
        outcome = self.hosts[name].call(lambda: self.planes[name].converge(told(), look=True))
        assert (outcome.faults, outcome.warnings) == ((), ())

    @property
    def finding(self) -> ProbeFinding:
        return self.prober.standings.get(f"i-{FORWARDER}", Standing()).last

    def rounds(self, count: int = 10) -> None:
        """Wait for more rounds than any decision needs."""
        sent = self.sent()
        soon(lambda: self.sent() >= sent + count)

    def sent(self) -> int:
        figures = self.prober.figures
        return figures.answered["relayed"] + figures.lost["relayed"] + figures.unsent["relayed"]

    def close(self) -> None:
        self.prober.stop()
        self.thread.join()
        for plane in self.planes.values():
            plane.kernel.close()


def open_inside(host: Host, source: Prefix, secret: bytes) -> EchoSocket:
    return host.call(lambda: EchoSocket(source, secret))


def told() -> Snapshot:
    members = [member(f"i-{name}", address(name), str(block(name))) for name in NODES]
    watches = (Watch(forwarder=f"i-{FORWARDER}", watchers=(f"i-{PROBER}",)),)
    return snapshot(*members, subnet_cidrs=[SUBNETS["a"]], reachable_here=[SUPERNETS["a"]], watches=watches)


@pytest.fixture
def subnet(fabric: Fabric, tmp_path: Path) -> Iterator[Subnet]:
    made = Subnet(fabric, tmp_path)
    soon(lambda: made.finding is ProbeFinding.RELAYS)
    yield made
    made.close()


def test_neighbours_learn_the_probing_nodes_address_and_no_pods(subnet: Subnet) -> None:
    """Or a node that has another's former address would be sought there until the neighbour forgets."""
    subnet.rounds(10)

    known = {name: host.tool("ip", "-4", "neigh", "show") for name, host in subnet.hosts.items()}

    for name in NODES[1:]:
        assert f"{address(PROBER)} " in known[name]
        assert f"{probe(PROBER)} " not in known[name]


def test_a_healthy_forwarder_relays_every_probe_and_tracks_none(subnet: Subnet) -> None:
    for host in subnet.hosts.values():  # somebody who tracks: kube-proxy
        host.tool("iptables-nft", "-A", "INPUT", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
        host.tool("iptables-nft", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")
    with count_packets(
        subnet.hosts[FORWARDER], f"ip saddr {probe(PROBER)} ip daddr {probe('a3')}"
    ) as passing:
        subnet.rounds(20)
        relayed = passing.packets

    assert relayed >= 5
    assert subnet.told == []
    assert not subnet.prober.doubtful
    assert subnet.prober.fault == ""
    assert not any(flows(host) for host in subnet.hosts.values())


def probe(name: str) -> str:
    return block(name).first_address


def flows(host: Host) -> str:
    """Tracked flows of probes."""
    return "".join(
        line for line in host.tool("cat", "/proc/net/nf_conntrack").splitlines(True) if "icmp" in line
    )


FAULTS: dict[str, tuple[Callable[[Host], None], Callable[[Host], None], ProbeFinding]] = {
    "port down": (Host.port_down, Host.port_up, ProbeFinding.DEAD),
    "unplugged": (Host.unplug, Host.plug_in, ProbeFinding.DEAD),
    "everything dropped": (
        lambda host: host.drop_everything(on=True),
        lambda host: host.drop_everything(on=False),
        ProbeFinding.DEAD,
    ),
    "forwarding off": (
        lambda host: host.set_forwarding(on=False),
        lambda host: host.set_forwarding(on=True),
        ProbeFinding.IDLE,
    ),
    "FORWARD drop": (
        lambda host: host.drop_forwarded(on=True),
        lambda host: host.drop_forwarded(on=False),
        ProbeFinding.IDLE,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_forwarder_is_suspected_named_and_forgiven(subnet: Subnet, fault: str) -> None:
    break_it, mend_it, finding = FAULTS[fault]
    break_it(subnet.hosts[FORWARDER])
    soon(lambda: subnet.prober.suspects)
    suspected = subnet.prober.standings[f"i-{FORWARDER}"].suspected
    mend_it(subnet.hosts[FORWARDER])
    subnet.tell(FORWARDER)
    soon(lambda: not subnet.prober.suspects)

    assert suspected is finding
    assert subnet.told == [{f"i-{FORWARDER}"}, set()]


@pytest.mark.parametrize(
    "fault",
    [Host.port_down, lambda host: host.drop_everything(on=True), lambda host: host.ip("link set ens5 down")],
    ids=["port down", "everything dropped", "own link off"],
)
def test_a_prober_that_is_cut_off_suspects_itself(subnet: Subnet, fault: Callable[[Host], None]) -> None:
    fault(subnet.hosts[PROBER])
    subnet.rounds()

    assert subnet.told == []
    assert subnet.finding is ProbeFinding.UNKNOWN
    assert subnet.prober.doubtful or subnet.prober.fault


def test_third_nodes_that_are_gone_are_not_held_against_the_forwarder(subnet: Subnet) -> None:
    subnet.hosts["a3"].port_down()
    subnet.rounds(20)
    with_one_left = subnet.told.copy()
    subnet.hosts[FORWARDER].set_forwarding(on=False)
    soon(lambda: subnet.prober.suspects)

    assert with_one_left == []
    assert subnet.prober.standings[f"i-{FORWARDER}"].suspected is ProbeFinding.IDLE


def test_without_any_third_node_nothing_is_known(subnet: Subnet) -> None:
    for name in ("a3", "a4", FORWARDER):
        subnet.hosts[name].port_down()
    subnet.rounds()

    assert subnet.told == []


def test_a_prober_that_was_frozen_holds_nothing_against_anybody(subnet: Subnet) -> None:
    """It wakes to a round that was answered long ago."""
    judge = subnet.prober.turn
    naps = iter([0.5, 0.5])

    def frozen() -> None:
        time.sleep(next(naps, 0))
        judge()

    subnet.prober.turn = frozen  # type: ignore[method-assign]  # the point is what happens around it
    subnet.rounds()

    assert next(naps, None) is None
    assert subnet.prober.figures.lost["relayed"] == 0
    assert subnet.told == []
