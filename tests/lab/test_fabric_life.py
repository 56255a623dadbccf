"""Namespaces, their processes and files: what lives in them, and that nothing is left of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from podway_lab.fabric import entry
from podway_lab.fabric.cni import CniFailed
from podway_lab.fabric.entry import NoNamespaces
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.host import Host
from podway_lab.fabric.namespace import Namespace, ToolFailed, new_namespace
from podway_lab.fabric.probes import ping
from podway_lab.fabric.scratch import Scratch

from tests.lab.handmade import Cluster, address, attach, block, conflist, eventually

pytestmark = pytest.mark.fabric

LAB = """
import os, subprocess, sys, time
from podway_lab.fabric.entry import enter
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.traffic import Traffic
from tests.lab.handmade import Cluster

enter()
fabric = Fabric()
cluster = Cluster(fabric, per_subnet=1)
host, pod = cluster.hosts["a1"], cluster.pods["a1"]
host.ip(f"link add name here type veth peer name canary netns {sys.argv[1]}")
traffic = Traffic()
traffic.start(pod, cluster.pods["b1"])
children = [host.popen(["sleep", "1000"]), pod.popen(["sleep", "1000"])]
print(fabric.directory, *(child.pid for child in children), flush=True)
time.sleep(1000)
"""

ORDINARY = """
from podway_lab.fabric.entry import NoNamespaces, enter
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.probes import ping
from tests.lab.handmade import Cluster

try:
    enter()
except NoNamespaces as error:
    print("refused:", error)
else:
    with Fabric() as fabric:
        cluster = Cluster(fabric)
        answer = ping(cluster.pods["a1"], cluster.pods["c2"].address)
    print("reached" if answer.received else answer)
"""


@pytest.fixture
def host(fabric: Fabric) -> Host:
    fabric.add_subnet("subnet-a", "10.0.0.0/20")
    return attach(fabric, "a1")


def has_link(namespace: Namespace, name: str) -> bool:
    return any(link["ifname"] == name for link in json.loads(namespace.tool("ip", "-j", "link", "show")))


def started(pid: int) -> str:
    """When the process started (proc_pid_stat(5)), since its number may be another's by and by.

    Empty once it has ended, reaped or not: that is for whoever inherited it.
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if state in {"Z", "X"} else fields[18]


def test_a_killed_lab_leaves_no_process_no_namespace_and_its_files_only_until_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labs of its own folder: another test's lab, somewhere else on this machine, sweeps too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with (
        new_namespace() as canary,
        subprocess.Popen(
            [sys.executable, "-c", LAB, canary.path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as lab,
    ):
        assert lab.stdout is not None
        directory, *pids = lab.stdout.readline().split()
        children = {int(pid): started(int(pid)) for pid in pids}
        assert len(children) == 2
        assert all(children.values())
        assert has_link(canary, "canary")

        lab.send_signal(signal.SIGKILL)
        lab.wait()

        assert eventually(lambda: not any(started(pid) == since for pid, since in children.items()))
        assert eventually(lambda: not has_link(canary, "canary")), "the lab's namespaces are still there"
        assert Path(directory).exists(), "nobody was there to remove it"
        Scratch().close()
        assert not Path(directory).exists()


def test_files_of_a_living_lab_are_left_alone() -> None:
    living = Scratch()
    Scratch().close()

    assert living.path.exists()
    living.close()
    living.close()
    assert not living.path.exists()


def test_detaching_ends_processes_listeners_and_pods(cluster: Cluster) -> None:
    host, pod = cluster.hosts["a1"], cluster.pods["a1"]
    processes = [host.popen(["sleep", "1000"]), pod.popen(["sh", "-c", "sleep 1000; true"])]
    server = host.listen("0.0.0.0", 80)
    ended = threading.Event()

    def serve() -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            server.accept()
        ended.set()

    threading.Thread(target=serve, daemon=True).start()
    with new_namespace() as canary:
        host.ip(f"link add name here type veth peer name canary netns {canary.path}")
        cluster.fabric.detach("i-a1")

        assert [process.poll() for process in processes] == [-signal.SIGKILL, -signal.SIGKILL]
        assert ended.wait(10)
        server.close()
        assert eventually(lambda: not has_link(canary, "canary")), "the instance's namespace is still there"


def test_closing_the_fabric_ends_everything_and_removes_its_files(fabric: Fabric, host: Host) -> None:
    process = host.popen(["sleep", "1000"])
    directory = fabric.directory
    assert host.directory.is_dir()

    fabric.close()

    assert process.poll() == -signal.SIGKILL
    assert not directory.exists()


def test_one_fabric_may_follow_another_in_the_same_place() -> None:
    with new_namespace() as place:
        for _ in range(2):
            with Fabric(Namespace(os.dup(place.descriptor))) as fabric:
                cluster = Cluster(fabric, per_subnet=1)
                assert ping(cluster.pods["a1"], cluster.pods["b1"].address).received


def test_children_outlive_the_thread_that_asked_for_them(host: Host) -> None:
    """The parent-death signal is of the thread that forks; a request handler's thread is short-lived."""
    with ThreadPoolExecutor(max_workers=1) as short_lived:
        process = short_lived.submit(host.popen, ["sleep", "1000"]).result()

    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)


def test_commands_see_their_namespace_and_the_callers_thread_stays_where_it_is(host: Host) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()

    seen = host.run(["ip", "-o", "-4", "address", "show", "dev", "ens5"])
    environment = host.run(["sh", "-c", "echo $COLOUR; cat"], text="in", env={"COLOUR": "red"})

    assert f"inet {address('a1')}/20" in seen.stdout
    assert (environment.stdout, environment.returncode) == ("red\nin", 0)
    assert Path("/proc/thread-self/ns/net").readlink() == before
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sleep", "1000"], timeout=0.1)


def test_many_threads_may_use_many_hosts_at_once(cluster: Cluster) -> None:
    def work(name: str) -> str:
        host = cluster.hosts[name]
        with host.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address(name), 0))
        shown = host.run(["ip", "-o", "-4", "address", "show", "dev", "ens5"]).stdout
        return shown.split("inet ")[1].split("/")[0]

    names = list(cluster.hosts) * 5
    with ThreadPoolExecutor(max_workers=8) as threads:
        assert list(threads.map(work, names)) == [address(name) for name in names]


def test_repeating_a_step_changes_nothing_and_contradicting_it_is_refused(fabric: Fabric, host: Host) -> None:
    fabric.add_subnet("subnet-a", "10.0.0.0/20")

    assert attach(fabric, "a1") is host
    with pytest.raises(ValueError, match=r"subnet-a is 10\.0\.0\.0/20 already"):
        fabric.add_subnet("subnet-a", "10.0.16.0/20")
    with pytest.raises(ValueError, match=r"i-a1 runs with eni-a1 10\.0\.0\.11"):
        fabric.attach(
            network_interface="eni-other",
            subnet_id="subnet-a",
            address="10.0.0.99",
            mac="02:00:00:00:00:99",
            instance_id="i-a1",
        )


def test_hosts_are_found_by_the_address_that_a_trace_shows(cluster: Cluster) -> None:
    assert cluster.fabric.host_at(address("c1")) is cluster.hosts["c1"]
    assert cluster.fabric.host_at("100.64.0.1") is None


def test_a_removed_pod_gives_its_address_back(cluster: Cluster) -> None:
    host = cluster.hosts["a1"]
    reservation = host.directory / "run/cni-podway/podway" / cluster.pods["a1"].address
    assert reservation.exists()

    host.remove_pod("pod")

    assert not reservation.exists()
    assert ping(cluster.pods["b1"], cluster.pods["a1"].address, timeout=0.2).lost
    cluster.start_pod("a1")
    with pytest.raises(ValueError, match="has a pod pod already"):
        cluster.start_pod("a1")


def test_a_full_block_is_the_plugins_word_and_leaves_nothing_behind(cluster: Cluster) -> None:
    host = cluster.hosts["a2"]
    small = conflist(host.directory, block("a2").at(30))
    before = len(list(Path("/proc/self/fd").iterdir()))

    with pytest.raises(CniFailed, match="no IP addresses available in range set"):
        host.add_pod("one-too-many", small)

    assert list(host.pods) == ["pod"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_chain_that_fails_half_way_gives_the_address_back(cluster: Cluster) -> None:
    host = cluster.hosts["a2"]
    path = conflist(host.directory, block("a2"))
    path.write_text(path.read_text().replace('"bandwidth", "cap', '"no-such-plugin", "cap'))

    with pytest.raises(CniFailed, match="plugin no-such-plugin is not in"):
        host.add_pod("half", path)

    reserved = {entry.name for entry in (host.directory / "run/cni-podway/podway").glob("100.*")}
    assert reserved == {cluster.pods["a2"].address}


def test_what_a_plugin_declares_reaches_it(cluster: Cluster) -> None:
    """A host port works only when the runtime hands the port mappings to ``portmap``."""
    host = cluster.hosts["c1"]
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}
    path = conflist(host.directory, block("c1"))
    pod = host.add_pod("web", path, capabilities={"portMappings": [mapping]})
    client = cluster.hosts["a1"].open_socket(socket.AF_INET, socket.SOCK_STREAM)

    with pod.listen(pod.address, 80) as server, client:
        client.settimeout(5)
        client.connect((host.address, 8080))
        assert server.accept()[1][0] == address("a1")


def test_a_refused_command_says_what_was_asked_and_why(fabric: Fabric) -> None:
    with pytest.raises(ToolFailed, match=r"(?s)Cannot find device.*link set nowhere up"):
        fabric.home.ip("link set nowhere up")


def test_missing_commands_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(entry.TOOLS, "no-such-tool", "no-such-package")

    with pytest.raises(NoNamespaces, match=r"no-such-tool .*apt-get install no-such-package"):
        entry.gain_privileges()


def test_a_kernel_that_lacks_something_is_found_out_before_anything_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    monkeypatch.setattr(entry, "PROBE", "link add name probe0 type no-such-type\n")

    with pytest.raises(NoNamespaces, match="the kernel lacks something"):
        entry.enter()

    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_without_privileges_there_is_a_user_namespace_or_the_reason_why_not() -> None:
    """In a process of its own that loses its capabilities, but for the one to map root as an owner may."""
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all", sys.executable, "-c", ORDINARY],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "reached\n" or done.stdout.startswith(
        "refused: no privileges, and the kernel refuses"
    )
