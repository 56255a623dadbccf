"""What a relay costs a stream, beside a direct route and beside an overlay, in the same lab and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from podway_agent.probing.paths import FIRST_MARK, FIRST_TABLE, RULE_PRIORITY
from podway_lab.fabric.counting import count_packets
from podway_lab.fabric.entry import gain_privileges
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.namespace import new_namespace
from podway_lab.fabric.probes import trace
from podway_lab.fabric.stream import Stream, stream

from tests.bench.page import Page
from tests.lab.handmade import address, block
from tests.lab.planes import Planes

TITLE = "Throughput of a relayed stream"
ROUNDS = 5
SECONDS = 2.0
LEAST_OF_DIRECT, LEAST_OF_OVERLAY = 0.8, 1.3
WATCHING = f"rule add fwmark {FIRST_MARK} lookup {FIRST_TABLE} pref {RULE_PRIORITY}"
OVERLAY_MTU = 9001 - 50
"""What VXLAN over IPv4 leaves."""


def measure(page: Page) -> None:
    """Five interleaved rounds of each way; medians, and medians of the rounds' own ratios."""
    gain_privileges()
    with (
        TemporaryDirectory() as directory,
        Fabric(new_namespace()) as fabric,
        Planes(fabric, Path(directory), ["a1", "a2", "b1", "b2"]) as planes,
    ):
        planes.start()
        lay_overlay(planes)
        ways = {"direct": direct, "relayed": relayed, "relayed both ways": both_ways, "VXLAN": overlay}
        found = _interleaved(planes, ways)
        for node in ENDS:  # last, for the kernel goes on asking rules after the last of them is gone
            planes.hosts[node].ip(WATCHING)
        watching = _interleaved(planes, {"direct": direct, "relayed": relayed})
    _tell(page, found, watching)


def _interleaved(planes: Planes, ways: Mapping[str, Callable[[Planes], Stream]]) -> dict[str, list[Stream]]:
    found: dict[str, list[Stream]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            found[way].append(run(planes))
    return found


def _tell(page: Page, found: dict[str, list[Stream]], watching: dict[str, list[Stream]]) -> None:
    page.say(
        f"One TCP stream between pods, MTU 9001 with offload, {SECONDS:.0f} s;"
        f" medians of {ROUNDS} interleaved rounds."
    )
    page.table("way", "Gbit/s", "of direct", "packets lost", "segments repeated")
    for way, many in found.items():
        rate = median(one.rate for one in many) / 1e9
        lost, repeated = sum(one.lost for one in many), sum(one.repeated for one in many)
        page.row(way, rate, _ratio(many, found["direct"]), lost, repeated)
    page.table("ratio", "measured", "at least")
    page.row("relayed / direct", _ratio(found["relayed"], found["direct"]), LEAST_OF_DIRECT)
    page.row("relayed / VXLAN", _ratio(found["relayed"], found["VXLAN"]), LEAST_OF_OVERLAY)
    page.row(
        "relayed / direct, while both ends watch a forwarder",
        _ratio(watching["relayed"], watching["direct"]),
        "",
    )
    page.say()
    page.say(
        "**These are no AWS figures.** All nodes, the router and both ends share this machine's cores, so a"
        " relay's work is taken from the stream's own; on EC2 the relay has its own cores and its own"
        " bandwidth, which it shares with all that it relays. `relayed`: the forwarder is passed by what is"
        " sent, not by the acknowledgements; `both ways`: by both. A node that watches a forwarder has a"
        " routing rule for probes, which costs all of its packets more lookups; up to three nodes watch each."
        " Packets are counted by nftables where they leave the sending pod and where they enter the"
        " receiving one, those of offload as one."
    )


def _ratio(one: list[Stream], other: list[Stream]) -> float:
    return median(mine.rate / theirs.rate for mine, theirs in zip(one, other, strict=True))


def direct(planes: Planes) -> Stream:
    return _between(planes, "a1", "b2", relays=[], direct={"b2": "b2"})


def relayed(planes: Planes) -> Stream:
    return _between(planes, "a1", "b2", relays=["b1"], direct={})


def both_ways(planes: Planes) -> Stream:
    return _between(planes, "a2", "b2", relays=["b1"], direct={})


def overlay(planes: Planes) -> Stream:
    """The same pods, their nodes' kernels wrapping each packet."""
    with _Overlay(planes), count_packets(planes.hosts["b2"], "udp dport 4789") as wrapped:
        found = stream(planes.pods["a1"], planes.pods["b2"], seconds=SECONDS)
        assert wrapped.packets > 1000, "the stream went another way"
    return found


def _between(
    planes: Planes, source: str, target: str, *, relays: list[str], direct: dict[str, str]
) -> Stream:
    planes.apply(direct)
    way = trace(planes.pods[source], planes.pods[target].address)
    assert way.relays == tuple(map(address, relays)), way
    return stream(planes.pods[source], planes.pods[target], seconds=SECONDS)


ENDS = {"a1": ("b2", "172.31.0.1", "172.31.0.2"), "b2": ("a1", "172.31.0.2", "172.31.0.1")}


def lay_overlay(planes: Planes) -> None:
    """A VXLAN between two nodes, unused until a route leads there."""
    for node, (peer, own, _) in ENDS.items():
        planes.hosts[node].ip(
            f"link add vxlan0 mtu {OVERLAY_MTU} type vxlan id 42 dstport 4789"
            f" local {address(node)} remote {address(peer)} dev ens5",
            f"address add {own}/30 dev vxlan0",
            "link set vxlan0 up",
        )


class _Overlay:
    """Leads two pods' packets over the VXLAN, within their reduced MTU, while it is entered."""

    def __init__(self, planes: Planes) -> None:
        self._planes = planes

    def __enter__(self) -> None:
        self._each("add", OVERLAY_MTU)

    def __exit__(self, *_: object) -> None:
        self._each("del", 9001)

    def _each(self, what: str, mtu: int) -> None:
        for node, (peer, _, gateway) in ENDS.items():
            self._planes.hosts[node].ip(f"route {what} {block(peer)} via {gateway} dev vxlan0")
            self._planes.pods[node].ip(f"link set eth0 mtu {mtu}")
