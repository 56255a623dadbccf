"""The agent's hold on 5,000 routes of a real kernel, against iproute2's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from podway.wire.snapshot import Snapshot
from podway_agent.kernel import routing
from podway_lab.fabric.entry import gain_privileges

from tests.bench.page import Page
from tests.integration.agent.node import Node
from tests.unit.agent.snapshots import ME, member, snapshot

TITLE = "Programming a node's routes"
COUNT = 5_000
ROUNDS = 7
MOST_ADDED, MOST_LOOKED = 3.0, 2.0
"""What the agent may take, as multiples of ``ip -batch`` and ``ip route show``."""


def measure(page: Page) -> None:
    """Interleaved rounds; medians, and the median of the rounds' own ratios."""
    gain_privileges()
    page.say(f"{COUNT:,} routes to siblings' blocks, wall time, medians of {ROUNDS} interleaved rounds.")
    page.table("what", "iproute2 ms", "agent ms", "ratio", "allowed")
    for nodes in (COUNT, 50):
        with TemporaryDirectory() as directory, Node(Path(directory)) as node:
            rounds = [_round(node, crowd(generation, nodes)) for generation in range(1, ROUNDS + 1)]
        _tell(page, f"{nodes:,} nodes", rounds)
    page.say()
    page.say(
        "The agent's times are of the routes' part of a convergence: dump, difference, requests, and a second"
        " dump of what is then there; `ip` is a process that is started and reads or writes text. With 5,000"
        " gateways most of the time is the kernel's own. Filters and switches, which do not grow with the"
        f" routes, take {median(times[4] for times in rounds) * 1000:.0f} ms more."
    )


def _tell(page: Page, which: str, rounds: list[tuple[float, ...]]) -> None:
    for what, one, other, allowed in (
        ("add all: `ip -batch` / desired from a snapshot, dump, add, dump", 0, 1, MOST_ADDED),
        ("change nothing: `ip route show` / dump and compare", 2, 3, MOST_LOOKED),
    ):
        theirs, ours = (median(times[place] for times in rounds) * 1000 for place in (one, other))
        ratio = median(times[other] / times[one] for times in rounds)
        page.row(f"{which}: {what}", theirs, ours, ratio, allowed)


def crowd(generation: int, nodes: int) -> Snapshot:
    """A subnet of *nodes* siblings with 5,000 blocks in all; their addresses differ with the generation."""
    blocks = [f"100.{64 + n // 1024}.{n % 1024 // 4}.{n % 4 * 64}/26" for n in range(1, COUNT + 1)]
    siblings = [
        member(f"i-{n:08x}", f"10.{generation}.{n // 250}.{n % 250 + 2}", *blocks[n::nodes])
        for n in range(nodes)
    ]
    return snapshot(
        ME, *siblings, generation=generation, pod_cidrs=["100.64.0.0/10"], reachable_here=["100.64.0.0/12"]
    )


def _round(node: Node, told: Snapshot) -> tuple[float, ...]:
    """Seconds of: ip's adding, ours, ip's looking, ours without a change, a whole convergence without one.

    Other addresses each time: what was seen before is decoded faster.
    """
    flush = f"route flush proto {routing.PROTOCOL}"
    lines = [
        f"route add {block.cidr} via {one.address} dev ens5 onlink proto {routing.PROTOCOL}"
        for one in told.members[1:]
        for block in one.blocks
    ]
    plane = node.dataplane
    link = node.namespace.call(plane.find_link)
    assert link is not None, "the node has no interface"

    def program(changes: int) -> None:
        faults: list[str] = []
        observed = routing.main_routes(plane.kernel)
        _, made = plane._route(told, plane.position(told, link, observed), observed, faults)
        assert (made, faults) == (changes, [])

    node.ip(flush)
    theirs = _seconds(lambda: node.ip(*lines))
    node.ip(flush)
    ours = node.namespace.call(lambda: _seconds(lambda: program(COUNT + 2)))
    their_look = _seconds(lambda: node.namespace.tool("ip", "route", "show", "table", "main"))
    our_look = node.namespace.call(lambda: _seconds(lambda: program(0)))
    node.converge(told)
    whole = node.namespace.call(lambda: _seconds(lambda: plane.converge(told, look=True)))
    return theirs, ours, their_look, our_look, whole - our_look


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
