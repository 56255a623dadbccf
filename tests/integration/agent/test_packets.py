"""Real packets between real pods over kernels that the agent programmed, in two subnets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from itertools import permutations
from pathlib import Path

import pytest
from podway_lab.fabric.cni import CniFailed
from podway_lab.fabric.counting import count_packets
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.probes import exchange, ping, trace, who_refuses

from tests.lab.handmade import SUPERNETS, address, block, eventually
from tests.lab.planes import Planes
from tests.unit.agent.snapshots import member, snapshot

pytestmark = pytest.mark.fabric

NODES = ("a1", "a2", "a3", "b1", "b2")
UNALLOCATED = "100.64.15.9"
"""In the supernet of subnet a, in nobody's block."""
METADATA = "169.254.169.254"
KUBE_PROXY_AND_DOCKER = [
    ["-P", "FORWARD", "DROP"],
    ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"],
]


@pytest.fixture
def cluster(fabric: Fabric, tmp_path: Path) -> Iterator[Planes]:
    with Planes(fabric, tmp_path, NODES) as made:
        yield made


def says(source: Namespace, target: str, port: int) -> bool:
    """Whether a TCP connection from *source* to *target* is accepted."""
    with source.open_socket(socket.AF_INET, socket.SOCK_STREAM) as asking:
        asking.settimeout(2)
        return asking.connect_ex((target, port)) == 0


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_all_pairs_talk_beside_kube_proxy_and_docker(cluster: Planes, program: str) -> None:
    for host in cluster.hosts.values():
        for rule in KUBE_PROXY_AND_DOCKER:
            host.tool(program, *rule)
    cluster.start()

    pairs = list(permutations(cluster.pods.values(), 2))

    assert [(one.name, two.name) for one, two in pairs if ping(one, two.address).lost] == []
    assert [(one.name, two.name) for one, two in pairs if not exchange(one, two).complete] == []


def test_without_our_exemption_kube_proxy_kills_relayed_tcp(cluster: Planes) -> None:
    for host in cluster.hosts.values():
        host.tool("iptables-nft", *KUBE_PROXY_AND_DOCKER[1])
    cluster.start()
    cluster.hosts["a1"].nft("flush chain inet podway relayed")

    assert not exchange(cluster.pods["b2"], cluster.pods["a2"], timeout=1).complete

    cluster.tell("a1")
    assert exchange(cluster.pods["b2"], cluster.pods["a2"]).complete


def test_one_relay_at_most_and_the_source_is_kept(cluster: Planes) -> None:
    cluster.start()
    source, target = cluster.pods["b2"], cluster.pods["a2"]
    kept = count_packets(target, f"ip saddr {source.address} icmp type echo-request")

    assert trace(source, target.address).relays == (address("a1"),)
    assert trace(source, cluster.pods["b1"].address).relays == ()
    assert ping(source, target.address, count=3).lost == 0
    assert kept.packets == 3


@pytest.mark.parametrize("sender", NODES)
@pytest.mark.parametrize("led", [False, True], ids=["unreachable", "led"])
def test_an_unallocated_address_does_not_loop_wherever_it_is_asked_from(
    cluster: Planes, sender: str, *, led: bool
) -> None:
    cluster.led = led
    cluster.start()
    entered = {name: count_packets(host, f"ip daddr {UNALLOCATED}") for name, host in cluster.hosts.items()}

    assert ping(cluster.pods[sender], UNALLOCATED, count=3, timeout=0.3).lost == 3

    relayed = {name: counted.packets for name, counted in entered.items()}
    # the sender's own node sees each once; whoever may leave it to the VPC hands it to the forwarder, once
    expected = dict.fromkeys(NODES, 0) | {sender: 3}
    expected["a1"] += 3 if sender[0] == "b" or (led and sender != "a1") else 0
    assert relayed == expected


def test_a_sibling_that_has_not_heard_of_a_new_node_reaches_its_pod_by_one_relay(cluster: Planes) -> None:
    cluster.start()
    old, new = cluster.pods["a3"], cluster.pods["a2"]
    cluster.tell("a3", unknown=["a2"])

    assert ping(old, new.address, count=3).lost == ping(new, old.address, count=3).lost == 0
    assert exchange(old, new).complete
    assert exchange(new, old).complete
    assert trace(old, new.address).relays == (address("a1"),)
    assert trace(new, old.address).relays == ()

    cluster.tell("a3")
    assert trace(old, new.address).relays == ()


def test_a_stale_sibling_reaches_the_pod_also_where_others_keep_its_pods_untracked(cluster: Planes) -> None:
    """What its pods send is not what comes in, tracked or not."""
    cluster.start()
    cluster.tell("a3", unknown=["a2"])
    chain = "type filter hook prerouting priority raw - 1\nnotrack"
    cluster.hosts["a3"].nft(f"table ip theirs {{\nchain untracked {{\n{chain}\n}}\n}}\n")

    assert ping(cluster.pods["a3"], cluster.pods["a2"].address, count=3).lost == 0


def test_so_does_what_enters_there_by_a_service_for_that_pod(cluster: Planes) -> None:
    """A NodePort: kube-proxy gives the packet another target and, for the answer to come back, its source."""
    cluster.start()
    stale, pod = cluster.hosts["a3"], cluster.pods["a2"]
    cluster.tell("a3", unknown=["a2"])
    service = ["-p", "tcp", "--dport", "80"]
    nat = (["PREROUTING", "-d", stale.address, *service, "-j", "DNAT", "--to", pod.address],)
    for rule in (*nat, ["POSTROUTING", "-d", pod.address, *service, "-j", "MASQUERADE"]):
        stale.tool("iptables-nft", "-t", "nat", "-A", *rule)

    with pod.listen(pod.address, 80):
        assert says(cluster.hosts["b1"], stale.address, 80)


def test_the_next_hop_of_its_own_subnets_table_refuses_what_it_does_not_know_itself(cluster: Planes) -> None:
    cluster.start()
    lost = cluster.pods["a2"].address
    cluster.tell("a1", unknown=["a2"])
    entered = count_packets(cluster.hosts["a1"], f"ip daddr {lost}")

    answers = [who_refuses(cluster.pods[name], lost) for name in ("a1", "b2")]

    gateway = f"{str(block('a1')).rpartition('.')[0]}.1"
    assert answers == [gateway, address("a1")], "a pod's gateway is its node"
    assert entered.packets == 2, "one from each"


def test_a_gone_nodes_block_does_not_loop(cluster: Planes) -> None:
    cluster.start()
    lost = cluster.pods["a2"].address
    cluster.hosts["a2"].port_down()
    cluster.tell("a1", a2="gone")
    entered = count_packets(cluster.hosts["a1"], f"ip daddr {lost}")

    assert ping(cluster.pods["b1"], lost, count=3, timeout=0.3).lost == 3

    assert eventually(lambda: entered.packets == 3)


def test_an_unused_address_of_the_own_block_does_not_loop(cluster: Planes) -> None:
    cluster.start()
    unused = f"{str(block('a2')).rpartition('.')[0]}.100"
    entered = count_packets(cluster.hosts["a2"], f"ip daddr {unused}")

    assert ping(cluster.pods["b1"], unused, count=3, timeout=0.3).lost == 3

    assert eventually(lambda: entered.packets == 3)


def test_two_blocks_apart_are_both_filled_and_both_reached(cluster: Planes) -> None:
    cluster.start()
    host, plane = cluster.hosts["a2"], cluster.planes["a2"]
    blocks = ["100.64.8.0/30", "100.64.9.0/30"]
    for name in ("a1", "a2"):
        told = snapshot(
            member("i-a1", address("a1")),
            member("i-a2", address("a2"), *blocks),
            subnet="subnet-a",
            reachable_here=[SUPERNETS["a"]],
            led_here=[SUPERNETS["a"]],
        )
        cluster.hosts[name].call(partial(cluster.planes[name].converge, told, look=True))
    conflist = plane.settings.cni_conf_dir / "10-podway.conflist"

    pods = [host.add_pod(f"pod{number}", conflist) for number in range(2)]

    assert {pod.address.rpartition(".")[0] for pod in pods} == {"100.64.8", "100.64.9"}
    assert [ping(cluster.pods["b1"], pod.address).lost for pod in pods] == [0, 0]
    with pytest.raises(CniFailed, match="no IP addresses available"):
        host.add_pod("one-too-many", conflist)


def test_pods_do_not_reach_the_metadata_service_and_their_node_does(cluster: Planes) -> None:
    cluster.start()
    host = cluster.hosts["a1"]
    host.add_address(METADATA)
    with host.listen(METADATA, 80):
        assert says(host, METADATA, 80)
        assert not says(cluster.pods["a1"], METADATA, 80)


def test_pods_reach_the_metadata_service_where_that_is_allowed(cluster: Planes) -> None:
    cluster.start(metadata_for_pods=True)
    host = cluster.hosts["a1"]
    host.add_address(METADATA)
    with host.listen(METADATA, 80):
        assert says(cluster.pods["a1"], METADATA, 80)


@pytest.mark.parametrize(("kept", "seen"), [("", "node"), ("10.0.0.0/16", "pod")])
def test_what_leaves_for_anything_but_pods_is_masqueraded_unless_kept(
    cluster: Planes, kept: str, seen: str
) -> None:
    cluster.start(keep_source_towards=kept)
    pod, other = cluster.pods["a1"], cluster.hosts["b2"]
    expected = {"node": address("a1"), "pod": pod.address}[seen]
    counted = count_packets(other, f"ip saddr {expected} icmp type echo-request")

    assert ping(pod, other.address, count=3).lost == 0

    assert counted.packets == 3


def test_no_forwarder_ever_sends_a_redirect(cluster: Planes) -> None:
    cluster.start()
    forwarder, sender, target = cluster.hosts["a1"], cluster.hosts["a3"], cluster.pods["a2"]
    # by way of the forwarder although the goal is a neighbour: what a redirect is made for
    sender.ip(f"route replace {block('a2')} via {address('a1')} dev ens5 onlink")
    redirects = count_packets(sender, "icmp type redirect")

    assert ping(sender, target.address, count=3).lost == 0
    assert redirects.packets == 0

    for scope in ("all", "ens5"):
        forwarder.sysctl(f"net.ipv4.conf.{scope}.send_redirects", 1)
    assert ping(sender, target.address, count=3).lost == 0
    assert eventually(lambda: redirects.packets > 0), "these packets would not have caused a redirect"
