"""What the agent costs a node that idles: CPU while it probes, memory with 5,000 routes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from podway.wire.snapshot import Snapshot, Watch
from podway_agent.dataplane import Dataplane
from podway_agent.host.identity import Identity
from podway_lab.fabric.entry import gain_privileges
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host
from podway_lab.fabric.namespace import ADMIN_PATH, Process, new_namespace

from tests.bench.page import Page
from tests.integration.agent.node import MAC, SELF, settings, soon
from tests.integration.agent.test_process import TOLD
from tests.lab.handmade import SUBNETS, address, attach, block, interface
from tests.unit.agent.snapshots import CLUSTER, HERE, ME, member, snapshot
from tests.unit.agent.standins import Metadata, Table

TITLE = "The agent on an idle node"
ROUTES = 5_000
WATCHED = ("a2", "a3", "a4")
MINUTE, SETTLING = 60.0, 5.0
MOST_CPU, MOST_MEMORY = 2.0, 64.0
"""Percent of a core, and MB: what issue and page promise."""


def crowd(count: int) -> Snapshot:
    """So many members, of which three forward, answer probes and are watched from here."""
    real = [member(f"i-{name}", address(name), str(block(name))) for name in WATCHED]
    others = [
        member(
            f"i-1{n:016x}",
            f"10.0.{1 + n // 250}.{n % 250}",
            f"100.64.{16 + n // 64}.{n % 64 * 4}/30",
            state="draining",
        )
        for n in range(count - len(real) - 2)
    ]
    watches = tuple(Watch(forwarder=f"i-{name}", watchers=(HERE,)) for name in WATCHED)
    return snapshot(
        ME, *real, *others, subnet_cidrs=[SUBNETS["a"]], reachable_here=["100.64.0.0/16"], watches=watches
    )


@contextmanager
def agent(told: Snapshot, **changed: str) -> Iterator[tuple[Host, Process]]:
    """A real agent that holds *told*, among three kernels that answer it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fabric = stack.enter_context(Fabric(new_namespace()))
        fabric.add_subnet("subnet-a", SUBNETS["a"])
        host = fabric.attach(
            network_interface="eni-0a", subnet_id="subnet-a", address=SELF.address, mac=MAC, instance_id=HERE
        )
        fabric.set_source_dest_check("eni-0a", on=False)
        for name in WATCHED:
            sibling = attach(fabric, name)
            fabric.set_source_dest_check(interface(name), on=False)
            who = Identity(f"i-{name}", "subnet-a", address(name), "", "us-west-2", "")
            plane = sibling.call(partial(Dataplane, settings(directory / name), who))
            sibling.call(partial(plane.converge, told, look=True))
        host.add_address("169.254.169.254")
        stack.enter_context(Metadata(host.listen("169.254.169.254", 80), TOLD))
        table = stack.enter_context(Table(host.listen("127.0.0.1", 8000)))
        table.publish(told)
        process = host.popen(
            [sys.executable, "-m", "podway_agent", "run"],
            env=environment(directory) | changed,
            stderr=subprocess.DEVNULL,
        )
        soon(lambda: any(int(item["generation"]["N"]) for item in table.written))
        yield host, process


def cpu_seconds(process: Process) -> float:
    """User and system time of the process and of children that have ended (proc(5))."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def environment(directory: Path) -> dict[str, str]:
    """Where things are; all else is the defaults."""
    return {
        "PATH": f"{os.environ['PATH']}:{ADMIN_PATH}",
        "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000",
        "PODWAY_AGENT_CLUSTER": CLUSTER,
        "PODWAY_AGENT_TABLE": "podway",
        "PODWAY_AGENT_ROLE_ID": "AROAX",
        "PODWAY_AGENT_STATE_DIR": str(directory / "state"),
        "PODWAY_AGENT_CNI_CONF_DIR": str(directory / "cni" / "net.d"),
        "PODWAY_AGENT_CNI_DATA_DIR": str(directory / "addresses"),
    }


def megabytes(process: Process, name: str) -> float:
    """A size of the process's memory (proc(5), status)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


def probes(host: Host) -> dict[str, float]:
    """Counts of probes, by the agent's own page."""
    with host.open_socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect(("127.0.0.1", 9469))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with client.makefile() as page:
            lines = [line.split() for line in page if line.startswith("podway_agent_probes_total{")]
    return {labels.partition("{")[2]: float(value) for labels, value in lines}


def measure(page: Page) -> None:
    """A minute each: with few routes and many, with probes and without."""
    gain_privileges()
    page.say(
        f"CPU over {MINUTE:.0f} s at the default intervals, on a node whose snapshot does not change, once it"
        " has settled; resident memory then, and at the most since the start."
    )
    page.table("routes", "watches", "CPU, %", "allowed", "MB", "MB, most", "allowed", "probes", "lost")
    for count, seconds in ((50, "0"), (50, "0.2"), (ROUTES, "0"), (ROUTES, "0.2")):
        told = crowd(count)
        with agent(told, PODWAY_AGENT_PROBE_SECONDS=seconds) as (host, process):
            time.sleep(SETTLING)
            before, began, sent = cpu_seconds(process), time.monotonic(), probes(host)
            time.sleep(MINUTE)
            used = (cpu_seconds(process) - before) / (time.monotonic() - began) * 100
            counts = {name: value - sent[name] for name, value in probes(host).items()}
            lost = sum(value for name, value in counts.items() if "answered" not in name)
            watches = len(WATCHED) if seconds != "0" else 0
            memory = (megabytes(process, name) for name in ("VmRSS", "VmHWM"))
            total, routes = int(sum(counts.values())), len(told.members) + 1
            page.row(routes, watches, used, MOST_CPU, *memory, MOST_MEMORY, total, int(lost))
    page.say()
    page.say(
        "A forwarder is watched by three nodes; the hash gives a node three to watch where all of a subnet"
        " forward, fewer where not. The CPU counts the interpreter's start in none of the rows."
    )
