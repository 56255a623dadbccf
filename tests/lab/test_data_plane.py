"""Packets between all pods of three zones, on nodes as they are: kube-proxy and Docker filter there too."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from itertools import permutations

import pytest
from podway_lab.fabric.counting import PacketCount, count_packets
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Endpoint
from podway_lab.fabric.namespace import Namespace, new_namespace
from podway_lab.fabric.probes import exchange, ping, who_refuses
from podway_lab.fabric.sweep import matrix, sweep

from tests.lab.handmade import address, block, eventually
from tests.lab.planes import Planes

pytestmark = pytest.mark.fabric

NODES = [f"{subnet}{number}" for subnet in "abc" for number in (1, 2, 3)]
DIRECT = {"a3": "a3", "b3": "b3", "c3": "c3"}
"""These have routes of their own; 1 relays for 2."""
FILTERS = [
    # kube-proxy, as iptables-save shows it
    ["-N", "KUBE-FORWARD"],
    ["-A", "KUBE-FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"],
    ["-A", "KUBE-FORWARD", "-m", "mark", "--mark", "0x4000/0x4000", "-j", "ACCEPT"],
    ["-A", "KUBE-FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
    ["-I", "FORWARD", "-j", "KUBE-FORWARD"],
    # Docker
    ["-P", "FORWARD", "DROP"],
    ["-N", "DOCKER-USER"],
    ["-I", "FORWARD", "-j", "DOCKER-USER"],
    ["-A", "DOCKER-USER", "-j", "RETURN"],
    ["-A", "FORWARD", "-o", "docker0", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"],
]
JUMBO = 8900 - 28
"""Payload of a packet of 8,900 bytes: without the headers of IP and ICMP."""
IP_MTU_DISCOVER, IP_MTU, IP_PMTUDISC_DO = 10, 14, 2
"""linux/in.h; Python has no names for these."""
UNALLOCATED = "100.64.15.9"
"""In the supernet of subnet a, in nobody's block."""


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    directory = tmp_path_factory.mktemp("planes")
    with Fabric(new_namespace()) as fabric, Planes(fabric, directory, NODES) as made:
        for host in made.hosts.values():
            for program in ("iptables-nft", "iptables-legacy"):
                for rule in FILTERS:
                    host.tool(program, *rule)
        made.apply(DIRECT)
        made.start()
        yield made


@pytest.fixture
def redirects(planes: Planes) -> Iterator[dict[str, PacketCount]]:
    """Counts of ICMP redirects that enter any namespace: router, nodes and pods."""
    places: dict[str, Namespace] = {"router": planes.fabric.home, **planes.hosts}
    places |= {f"pod {name}": pod for name, pod in planes.pods.items()}
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(count_packets(place, "icmp type redirect"))
            for name, place in places.items()
        }


def seen(redirects: dict[str, PacketCount]) -> dict[str, int]:
    return {name: packets for name, count in redirects.items() if (packets := count.packets)}


def test_udp_reaches_all_with_its_source_over_one_relay_at_most(
    planes: Planes, redirects: dict[str, PacketCount]
) -> None:
    found = sweep(planes.pods)

    assert None not in found.values(), matrix(found)
    for (source, target), heard in found.items():
        assert heard is not None
        assert heard.source == planes.pods[source].address
        relayed = source[0] != target[0] and target[1] == "2"
        assert heard.relays == int(relayed), matrix(found)
    assert seen(redirects) == {}


def test_icmp_and_large_packets_reach_all_unfragmented(
    planes: Planes, redirects: dict[str, PacketCount]
) -> None:
    pairs = list(permutations(planes.pods.values(), 2))

    lost = [(one.name, two.name) for one, two in pairs if ping(one, two.address, size=JUMBO).lost]

    assert lost == []
    assert seen(redirects) == {}


def test_tcp_reaches_all(planes: Planes, redirects: dict[str, PacketCount]) -> None:
    pairs = list(permutations(planes.pods.values(), 2))

    broken = [(one.name, two.name) for one, two in pairs if not exchange(one, two).complete]

    assert broken == []
    assert seen(redirects) == {}


def test_nodes_and_pods_reach_each_other_too(planes: Planes, redirects: dict[str, PacketCount]) -> None:
    """A packet that a node sends itself is tracked there, on its way back too (kubelet's probes)."""
    lost = [
        (name, pod.address)
        for name in ("a1", "a2", "b2")
        for pod in planes.pods.values()
        if ping(planes.hosts[name], pod.address).lost
    ]

    assert lost == []
    assert exchange(planes.hosts["b2"], planes.pods["a2"]).complete
    assert seen(redirects) == {}


def test_tcp_uses_the_whole_packet(planes: Planes) -> None:
    """The SYN at the end of a relayed way offers 8,961 bytes: nobody on the way makes it less."""
    target = planes.pods["a2"]
    offered = "tcp flags & (syn | ack) == syn tcp option maxseg size 8961"

    with count_packets(target, offered) as whole:
        assert exchange(planes.pods["b2"], target).complete
        assert whole.packets == 1


def test_a_pod_learns_of_a_narrower_way_out_of_the_vpc(planes: Planes) -> None:
    """The complaint names the node, which masquerades: it must find the pod, past kube-proxy and Docker."""
    router, pod = planes.fabric.home, planes.pods["a2"]
    with new_namespace() as outside:
        router.ip(
            f"link add name narrow mtu 1500 type veth peer name eth0 mtu 1500 netns {outside.path}",
            "address add 203.0.113.1/24 dev narrow",
            "link set narrow up",
            "route add 203.0.113.0/24 dev narrow table 1000",
        )
        outside.ip("address add 203.0.113.2/24 dev eth0", "link set eth0 up")
        outside.ip("route add default via 203.0.113.1")
        with pod.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.connect(("203.0.113.2", 9))
            asking.setsockopt(socket.SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
            assert asking.getsockopt(socket.SOL_IP, IP_MTU) == 9001
            asking.send(bytes(8000))

            assert eventually(lambda: asking.getsockopt(socket.SOL_IP, IP_MTU) == 1500)


def places(planes: Planes) -> dict[str, Endpoint]:
    """A place of each kind to ask from: pods and nodes, of the forwarder, the own subnet and another."""
    found: dict[str, Endpoint] = {f"node {name}": planes.hosts[name] for name in ("a1", "a2", "b1", "b2")}
    return found | {f"pod on {name}": planes.pods[name] for name in ("a1", "a2", "b1", "b2")}


def refusals(asking: dict[str, Endpoint], goal: str) -> dict[str, str | None]:
    """Who says "unreachable" to each, well before a neighbour's silence would (3 s)."""
    return {name: who_refuses(place, goal, timeout=2) for name, place in asking.items()}


@pytest.mark.parametrize(
    ("goal", "refuser"),
    [
        (UNALLOCATED, "a1"),
        (str(block("a2")).replace("64/26", "100"), "a2"),
        (str(block("a1")).replace("0/26", "44"), "a1"),
    ],
    ids=["in no block", "in a relayed node's block", "in the forwarder's block"],
)
def test_an_address_that_nobody_has_is_refused_at_once_from_everywhere(
    planes: Planes, goal: str, refuser: str
) -> None:
    answers = refusals(places(planes), goal)

    assert None not in answers.values(), answers
    assert answers["pod on b2"] == answers["node b2"] == address(refuser)


def test_what_a_node_does_not_know_in_its_own_subnets_space_is_refused_by_the_forwarder(
    planes: Planes,
) -> None:
    answers = refusals(places(planes), UNALLOCATED)

    assert answers["pod on a2"] == answers["node a2"] == address("a1")


def test_the_block_of_a_dead_node_is_refused_at_once_from_everywhere(planes: Planes) -> None:
    goal = planes.pods["a2"].address
    planes.hosts["a2"].port_down()
    try:
        for name in ("a1", "a3"):
            planes.tell(name, a2="gone")
        asked = {name: place for name, place in places(planes).items() if "a2" not in name}

        answers = refusals(asked, goal)

        assert None not in answers.values(), answers
        assert answers["pod on b2"] == address("a1")
    finally:
        planes.hosts["a2"].port_up()
        for name in ("a1", "a3"):
            planes.tell(name)
