"""The agent as a process: `podway-agent run` against metadata and a table over HTTP, in a namespace."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from podway.wire.snapshot import Snapshot, SnapshotMember, pack
from podway_agent.host.disk import StateDirectory
from podway_lab.fabric.namespace import ADMIN_PATH, Process

from tests.integration.agent.node import MAC, PATIENCE, SELF, Node, soon
from tests.unit.agent.kubernetes.kube_server import (
    NAME,
    TOKEN,
    ApiServer,
    fresh_node,
    kubeconfig,
    make_authority,
)
from tests.unit.agent.snapshots import ME, SIBLING, member, snapshot
from tests.unit.agent.standins import Identifier, Metadata, Table

pytestmark = pytest.mark.fabric

CREDENTIALS = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2099-01-01T00:00:00Z",
    "AccessKeyId": "ASIATESTING",
    "SecretAccessKey": "testing",
    "Token": "testing",
}
TOLD = {
    "instance-id": SELF.instance,
    "mac": MAC,
    "placement/region": SELF.region,
    "local-ipv4": SELF.address,
    f"network/interfaces/macs/{MAC}/subnet-id": SELF.subnet,
    "iam/security-credentials/": "nodes",
    "iam/security-credentials/nodes": json.dumps(CREDENTIALS),
}


class Machine(Node):
    """A node with what an instance finds around it, and a real agent on request."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.ip("address add 169.254.169.254/32 dev lo")
        self.metadata = Metadata(self.namespace.listen("169.254.169.254", 80), TOLD)
        self.table = Table(self.namespace.listen("127.0.0.1", 8000))
        self.environment = {
            "PATH": f"{os.environ['PATH']}:{ADMIN_PATH}",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000",
            "PODWAY_AGENT_LISTEN": "",
            "PODWAY_AGENT_CLUSTER": "demo",
            "PODWAY_AGENT_TABLE": "podway",
            "PODWAY_AGENT_ROLE_ID": "AROAX",
            "PODWAY_AGENT_STATE_DIR": str(directory / "state"),
            "PODWAY_AGENT_CNI_CONF_DIR": str(directory / "cni" / "net.d"),
            "PODWAY_AGENT_CNI_DATA_DIR": str(directory / "addresses"),
            "PODWAY_AGENT_POLL_FAST_SECONDS": "0.1",
            "PODWAY_AGENT_POLL_SLOW_SECONDS": "0.2",
        }

    def start(self, **environment: str) -> Process:
        with (self.directory / "log").open("ab") as log:
            return self.namespace.popen(
                self.command("run"), env={**self.environment, **environment}, stderr=log
            )

    def say(self, *arguments: str) -> str:
        """What a subcommand prints."""
        return self.namespace.tool(
            "env", *(f"{name}={value}" for name, value in self.environment.items()), *self.command(*arguments)
        )

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / "log").read_text().splitlines()]

    def acknowledged(self) -> int:
        return max((int(item["generation"]["N"]) for item in self.table.written), default=-1)

    def __exit__(self, *problem: object) -> None:
        super().__exit__(*problem)
        self.metadata.__exit__(*problem)
        self.table.__exit__(*problem)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Machine(tmp_path) as made:
        yield made


def crowd(generation: int, count: int = 50) -> Snapshot:
    """A subnet whose members' addresses differ with the generation."""
    siblings: list[SnapshotMember] = [
        member(f"i-1{n:x}", f"10.0.{generation % 8 + 1}.{n + 2}", f"100.64.{n // 4 + 1}.{n % 4 * 64}/26")
        for n in range(count)
    ]
    return snapshot(ME, *siblings, generation=generation)


def test_it_acknowledges_only_after_the_kernel_holds_the_generation(machine: Machine) -> None:
    seen: list[tuple[int, list[str]]] = []
    machine.table.on_write = lambda item: seen.append((int(item["generation"]["N"]), machine.ours()))
    machine.table.publish(crowd(1))
    machine.start()
    soon(lambda: machine.acknowledged() == 1)
    machine.table.publish(crowd(2))
    soon(lambda: machine.acknowledged() == 2)

    for generation, routes in seen:
        ways = [line for line in routes if f"via 10.0.{generation + 1}." in line]
        assert len(ways) == (50 if generation else 0)
    assert [generation for generation, _ in seen] == [0, 1, 2]
    assert {item["pk"]["S"] for item in machine.table.written} == {"AROAX:i-0a"}
    assert machine.table.written[0]["cause"]["S"] == "joined"


def test_what_the_kernel_does_not_hold_is_not_acknowledged_and_admits_no_pods(machine: Machine) -> None:
    machine.ip("route add 100.64.0.64/26 via 10.0.0.77 dev ens5 proto static")
    machine.table.publish(snapshot())
    machine.start()
    soon(lambda: any("does not hold" in line["event"] for line in machine.log()))
    polls = len(machine.table.calls)
    soon(lambda: len(machine.table.calls) > polls + 5)
    assert machine.acknowledged() == 0
    assert not machine.settings.cni_conf_dir.exists()

    machine.ip("route del 100.64.0.64/26 via 10.0.0.77")

    soon(lambda: machine.acknowledged() == 1)
    assert (machine.settings.cni_conf_dir / "10-podway.conflist").exists()


def test_without_a_role_id_sts_says_who_we_are(machine: Machine) -> None:
    sts = Identifier(machine.namespace.listen("127.0.0.1", 8001), f"AROAZ:{SELF.instance}")
    machine.table.publish(snapshot())
    with sts:
        agent = machine.start(PODWAY_AGENT_ROLE_ID="", AWS_ENDPOINT_URL_STS="http://127.0.0.1:8001")
        soon(lambda: machine.acknowledged() == 1)
        agent.end()
    machine.table.publish(snapshot(generation=2))

    machine.start(PODWAY_AGENT_ROLE_ID="")

    soon(lambda: machine.acknowledged() == 2)
    assert {item["pk"]["S"] for item in machine.table.written} == {"AROAZ:i-0a"}
    assert sts.asked == 1


def test_ended_it_leaves_the_node_as_it_is(machine: Machine) -> None:
    machine.table.publish(snapshot())
    agent = machine.start()
    soon(lambda: machine.acknowledged() == 1)
    routes, rules = machine.ours(), machine.rules()

    agent.send_signal(signal.SIGTERM)

    assert agent.wait(PATIENCE) == 0
    assert (machine.ours(), machine.rules()) == (routes, rules)
    assert machine.switch("ipv4/ip_forward") == "1"
    assert (machine.settings.cni_conf_dir / "10-podway.conflist").exists()


def test_killed_and_started_again_routes_stay_and_state_converges(machine: Machine) -> None:
    machine.table.publish(snapshot())
    agent = machine.start()
    soon(lambda: machine.acknowledged() == 1)
    routes = machine.ours()

    agent.end()
    assert machine.ours() == routes
    machine.ip("route del 100.64.0.64/26", "route add 100.64.9.0/26 via 10.0.0.99 dev ens5 proto 112")
    machine.start()

    soon(lambda: machine.ours() == routes)


def test_killed_at_random_points_it_always_converges(machine: Machine) -> None:
    chance = random.Random(7)
    machine.ip("route add 10.9.0.0/16 via 10.0.0.1", "route add 100.64.200.0/24 via 10.0.0.1")
    theirs = [line for line in machine.routes() if "proto 112" not in line]
    for generation in range(1, 7):
        machine.table.publish(crowd(generation, count=250))
        agent = machine.start()
        with pytest.raises(subprocess.TimeoutExpired):
            agent.wait(chance.uniform(0.3, 0.9))
        agent.end()

    machine.start()

    soon(lambda: machine.acknowledged() == 6)
    assert len([line for line in machine.ours() if " via 10.0.7." in line]) == 250
    assert [line for line in machine.routes() if "proto 112" not in line] == theirs


def test_with_the_store_away_the_last_good_snapshot_is_used(machine: Machine) -> None:
    StateDirectory(machine.settings.state_dir).save_snapshot(pack(snapshot(generation=5)))
    machine.table.away = True

    machine.start()

    soon(lambda: "100.64.0.64/26 via 10.0.0.11 dev ens5 onlink" in machine.ours())
    soon(lambda: machine.table.calls)
    assert machine.table.written == []
    machine.table.publish(snapshot(generation=6))
    machine.table.away = False
    soon(lambda: machine.acknowledged() == 6)


def test_an_older_generation_in_the_store_changes_nothing(machine: Machine) -> None:
    StateDirectory(machine.settings.state_dir).save_snapshot(pack(snapshot(ME, SIBLING, generation=5)))
    machine.table.publish(snapshot(ME, generation=4))

    machine.start()

    soon(lambda: any("older than generation 5" in line.get("reason", "") for line in machine.log()))
    assert machine.acknowledged() == 5
    assert "100.64.0.64/26 via 10.0.0.11 dev ens5 onlink" in machine.ours()


def test_an_identity_of_another_instance_on_disk_is_refused(machine: Machine) -> None:
    state = StateDirectory(machine.settings.state_dir)
    others = {**vars(SELF), "instance": "i-0f", "subnet": "subnet-f", "userid": "AROAX:i-0f"}
    state.write("identity.json", others)
    machine.table.publish(snapshot())

    machine.start()

    soon(lambda: machine.acknowledged() == 1)
    assert {item["instance"]["S"] for item in machine.table.written} == {"i-0a"}


def test_status_tells_what_was_found_and_done(machine: Machine) -> None:
    machine.table.publish(snapshot())
    machine.start()
    soon(lambda: machine.acknowledged() == 1)
    soon((machine.settings.state_dir / "status.json").exists)

    status = json.loads(machine.say("status"))

    assert status["complete"]
    assert status["cni"]
    assert status["generation"] == {"kernel": 1, "snapshot": 1}
    assert status["routes"] == {"desired": 5, "present": 5}


def test_pages_tell_of_health_and_readiness_and_count(machine: Machine) -> None:
    machine.start(PODWAY_AGENT_LISTEN="127.0.0.1:9469")

    def page(path: str) -> str:
        script = (
            f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:9469{path}').read().decode())"
        )
        done = machine.namespace.run([sys.executable, "-c", script])
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]

    soon(lambda: page("/healthz") == "ok")
    assert "503" in page("/readyz")
    machine.table.publish(snapshot())
    soon(lambda: page("/readyz") == "ok")
    metrics = page("/metrics").splitlines()
    assert 'podway_agent_routes{state="present"} 5' in metrics
    assert 'podway_agent_generation{state="obeyed"} 1' in metrics

    machine.ip("route del 100.64.0.64/26")
    soon(lambda: "podway_agent_drift_repaired_total 1" in page("/metrics").splitlines())
    assert page("/nowhere").endswith("404: Not Found")


def test_uninstall_removes_exactly_what_is_ours(machine: Machine) -> None:
    machine.namespace.tool("iptables-nft", "-P", "FORWARD", "DROP")
    machine.namespace.tool("iptables-nft", "-A", "FORWARD", "-d", "192.0.2.0/24", "-j", "ACCEPT")
    machine.ip("route add 100.64.200.0/24 via 10.0.0.1 proto 77")
    routes, rules, lookups = machine.routes(), machine.rules(), machine.namespace.tool("ip", "rule")
    machine.table.publish(snapshot(led_here=["100.64.0.0/20"]))
    agent = machine.start()
    soon(lambda: machine.acknowledged() == 1)
    assert machine.rules() != rules
    agent.send_signal(signal.SIGTERM)
    agent.wait(PATIENCE)

    machine.say("uninstall")

    assert (machine.routes(), machine.rules()) == (routes, rules)
    assert machine.namespace.tool("ip", "rule") == lookups
    assert list(machine.settings.cni_conf_dir.iterdir()) == []
    assert list(machine.settings.state_dir.iterdir()) == []


def test_it_says_little_and_all_of_it_is_json(machine: Machine) -> None:
    machine.table.publish(snapshot())
    machine.start()
    soon(lambda: machine.acknowledged() == 1)
    polls = machine.table.calls.count("GetItem")
    soon(lambda: machine.table.calls.count("GetItem") > polls + 5)

    assert [line["event"] for line in machine.log()] == ["identity", "snapshot", "kernel holds"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["status", "--help"], ["uninstall", "--help"]]
)
def test_help_needs_no_settings(machine: Machine, arguments: list[str]) -> None:
    machine.environment = {"PATH": os.environ["PATH"]}

    assert "usage: podway-agent" in machine.say(*arguments)


def test_faulty_settings_are_named_and_not_tried_again(machine: Machine) -> None:
    agent = machine.start(PODWAY_AGENT_COLOUR="red")

    assert agent.wait(PATIENCE) == 64
    assert "PODWAY_AGENT_COLOUR" in (machine.directory / "log").read_text()


def checked(machine: Machine) -> tuple[int, dict[str, list[str]]]:
    """Exit status of ``podway-agent check``, and what it says by level."""
    done = machine.namespace.run(machine.command("check", "--json"), env=machine.environment)
    said: dict[str, list[str]] = {}
    for finding in json.loads(done.stdout):
        said.setdefault(finding["level"], []).append(f"{finding['subject']}: {finding['what']}")
    return done.returncode, said


@pytest.mark.parametrize(("led", "count"), [([], 5), (["100.64.0.0/20"], 4)], ids=["alone", "led"])
def test_check_finds_a_healthy_node_healthy_and_changes_nothing(
    machine: Machine, led: list[str], count: int
) -> None:
    machine.table.publish(snapshot(led_here=led))
    machine.start()
    soon(lambda: machine.acknowledged() == 1)
    soon((machine.settings.state_dir / "status.json").exists)
    before = (machine.routes(), machine.rules())

    status, said = checked(machine)

    assert (status, set(said)) == (0, {"fine", "note"}), said
    assert "membership: ready, with 100.64.0.0/26" in said["fine"]
    assert f"routes: all {count} stand" in said["fine"]
    assert (machine.routes(), machine.rules()) == before


def test_check_names_what_is_wrong_and_who_meddles(machine: Machine) -> None:
    machine.table.publish(snapshot(led_here=["100.64.0.0/20"]))
    agent = machine.start()
    soon(lambda: machine.acknowledged() == 1)
    soon((machine.settings.state_dir / "status.json").exists)
    agent.end()
    machine.ip("route del 100.64.0.64/26", "route add 100.64.9.0/26 via 10.0.0.99 proto static")
    machine.namespace.sysctl("net.ipv4.ip_forward", 0)
    machine.namespace.nft("delete table inet podway")
    for rule in (
        ["-P", "FORWARD", "DROP"],
        ["-N", "DOCKER"],
        ["-t", "nat", "-N", "KUBE-MARK-MASQ"],
        ["-t", "nat", "-N", "KUBE-SERVICES"],
        ["-t", "nat", "-A", "KUBE-SERVICES", "!", "-s", "100.64.0.0/26", "-j", "KUBE-MARK-MASQ"],
    ):
        machine.namespace.tool("iptables-nft", *rule)
    (machine.settings.cni_conf_dir / "05-other.conf").write_text("{}")
    machine.table.away = True

    status, said = checked(machine)

    assert status == 2
    faults, doubts = "\n".join(said["fault"]), "\n".join(said["doubt"])
    for fault in (
        "agent: does not run",
        "routes: missing or wrong: 100.64.0.64/26, 100.64.0.0/20",
        "sysctl: ipv4.ip_forward is 0, not 1",
        "filters: the table inet podway is missing",
        "filters: iptables-nft FORWARD drops pods' packets",
        "CNI: the runtime takes 05-other.conf",
    ):
        assert fault in faults
    assert "store: GetItem: status 503; the node goes on with generation 1" in doubts
    assert "routes: others' routes lead into the pod CIDR: 100.64.9.0/26 via 10.0.0.99" in doubts
    assert "kube-proxy: takes pods outside 100.64.0.0/26 for strangers" in doubts
    assert {"Docker: is here, and makes FORWARD drop what nobody accepts"} < set(said["note"])


def test_check_on_a_machine_without_anything_says_so_and_ends(machine: Machine) -> None:
    machine.metadata.told = {}

    status, said = checked(machine)

    assert status == 2
    assert any("identity: not known" in one for one in said["fault"])
    assert "agent: has not compared this kernel yet" in said["fault"]


@pytest.mark.parametrize("program", ["iptables-nft", "iptables-legacy"])
def test_the_powers_that_its_unit_leaves_it_are_enough(machine: Machine, program: str) -> None:
    unit = Path("node_agent/systemd/podway-agent.service").read_text()
    (kept,) = re.findall(r"^CapabilityBoundingSet=(.*)$", unit, re.MULTILINE)
    powers = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in kept.split())])
    machine.namespace.tool(program, "-P", "FORWARD", "DROP")
    machine.table.publish(snapshot())

    with (machine.directory / "log").open("ab") as log:
        confined = ["setpriv", "--bounding-set", powers, "--inh-caps", "-all", "--no-new-privs"]
        machine.namespace.popen([*confined, *machine.command("run")], env=machine.environment, stderr=log)
    soon(lambda: machine.acknowledged() == 1)

    assert machine.switch("ipv4/ip_forward") == "1"
    assert "podway" in machine.namespace.tool(program, "-S", "FORWARD")
    assert "table inet podway" in machine.rules()
    assert [line["level"] for line in machine.log() if line["level"] != "INFO"] == []


def test_kubernetes_is_told_once_the_conflist_stands(machine: Machine) -> None:
    authority = make_authority(machine.directory / "pki")
    server = ApiServer(machine.namespace.listen("127.0.0.1", 6443), authority, fresh_node())
    config = machine.directory / "kubelet.conf"
    trusted = {"certificate-authority": str(authority.certificate)}
    config.write_text(kubeconfig(server.url, cluster=trusted, user={"token": TOKEN}))
    machine.table.publish(snapshot(member("i-0a", "10.0.0.10", "100.64.0.0/26", ready=False)))

    with server:
        machine.start(PODWAY_AGENT_KUBERNETES=str(config), PODWAY_AGENT_KUBERNETES_NODE=NAME)
        soon(lambda: machine.acknowledged() == 1)
        assert server.asked == []
        machine.table.publish(snapshot(generation=2))
        soon(lambda: server.node["status"]["conditions"][1]["status"] == "False")

    assert server.node["spec"]["podCIDRs"] == ["100.64.0.0/26"]
    assert (machine.settings.cni_conf_dir / "10-podway.conflist").exists()


def test_an_api_server_that_is_away_holds_nothing_up(machine: Machine) -> None:
    config = machine.directory / "kubelet.conf"
    config.write_text(kubeconfig("https://127.0.0.1:1", cluster={}, user={"token": TOKEN}))
    machine.table.publish(snapshot())

    agent = machine.start(PODWAY_AGENT_KUBERNETES=str(config))
    soon(lambda: machine.acknowledged() == 1)
    soon((machine.settings.cni_conf_dir / "10-podway.conflist").exists)
    soon(lambda: any(line["event"] == "Kubernetes not told" for line in machine.log()))

    agent.send_signal(signal.SIGTERM)
    assert agent.wait(PATIENCE) == 0
