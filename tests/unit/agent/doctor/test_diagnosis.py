"""Facts about a node become findings, each with what to do, and an exit status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from podway.domain.addressing import Prefix
from podway_agent.doctor import diagnosis
from podway_agent.doctor.diagnosis import Facts, Level, Others, diagnose, verdict
from podway_agent.doctor.look import configurations, line, strangers, strays, wrong_switches
from podway_agent.host.identity import Identity
from podway_agent.kernel.difference import Add, Conflict, Difference
from podway_agent.kernel.routing import KernelRoute, Key, Kind, Link, Route, Target
from podway_agent.settings import Settings
from podway_agent.usage import Usage

from tests.unit.agent.snapshots import CLUSTER, HERE, NOON, SIBLING, SUBNET, member, prefixes, snapshot

SETTINGS = Settings(cluster=CLUSTER, table="podway")
LINK = Link(2, "ens5", 9001, "02:00:00:00:00:0a", up=True)
OWN = Prefix.parse("100.64.0.0/26")
AWAY = Prefix.parse("100.64.0.64/26")
THEIRS = KernelRoute(Key(AWAY, 0), Target(Kind.UNICAST, 0x0A00004D, 2), 4)
OURS = Route(Key(AWAY, 0), Target(Kind.UNICAST, 0x0A00000B, 2, onlink=True))

WAITING = member(HERE, "10.0.0.10", str(OWN), ready=False)

HEALTHY = Facts(
    now=NOON,
    identity=Identity(HERE, SUBNET, "10.0.0.10", LINK.mac, "us-west-2", f"AROAX:{HERE}"),
    stored=1,
    snapshot=snapshot(),
    status={"time": NOON.isoformat(), "pid": 1, "faults": [], "warnings": []},
    alive=True,
    link=LINK,
    routes=Difference((), (), 5),
    table=True,
    conflist=(OWN,),
    usage=Usage(3, 61, 1),
    others=Others(configurations=("10-podway.conflist",)),
)


def test_a_healthy_node_has_only_good_news_and_what_cannot_be_seen() -> None:
    findings = diagnose(HEALTHY, SETTINGS)

    assert verdict(findings) == 0
    assert [one.what for one in findings if one.level is not Level.FINE] == [
        "whether the source/destination check is off cannot be seen from here"
    ]


@pytest.mark.parametrize(
    ("changed", "level", "said"),
    [
        ({"identity_fault": "not known: no answer"}, "DOUBT", "not known"),
        ({"identity": None, "identity_fault": "not known: no answer"}, "FAULT", "not known"),
        ({"status": None}, "FAULT", "has not compared"),
        ({"alive": False}, "FAULT", "does not run"),
        ({"now": NOON + timedelta(minutes=16)}, "FAULT", "has not compared the kernel since"),
        ({"status": HEALTHY.status | {"time": "long ago"}}, "FAULT", "since long ago"),  # type: ignore[operator]  # a dict here
        ({"status": HEALTHY.status | {"faults": ["no way"]}}, "FAULT", "reports: no way"),  # type: ignore[operator]  # a dict here
        ({"status": HEALTHY.status | {"warnings": ["hm"]}}, "DOUBT", "warns: hm"),  # type: ignore[operator]  # a dict here
        ({"store_fault": "timed out"}, "DOUBT", "goes on with generation 1"),
        ({"store_fault": "timed out", "snapshot": None}, "FAULT", "no snapshot on disk"),
        ({"stored": None}, "FAULT", "has no snapshot of this subnet"),
        ({"stored": 4}, "DOUBT", "at generation 4; here there is generation 1"),
        ({"stored": 4, "snapshot": None}, "DOUBT", "here there is none"),
        ({"snapshot": snapshot(generation=3)}, "FAULT", "older than the 3"),
        ({"snapshot": snapshot(generation=3), "stored_epoch": 2}, "DOUBT", "at generation 1; here there is"),
        ({"snapshot": snapshot(SIBLING)}, "FAULT", "does not know this node"),
        ({"snapshot": snapshot(member(HERE, "10.0.0.10"))}, "FAULT", "has no block"),
        ({"snapshot": snapshot(WAITING)}, "DOUBT", "waits until"),
        ({"link": None}, "FAULT", "no interface with 10.0.0.10 is up"),
        ({"link": LINK._replace(up=False)}, "FAULT", "no interface with 10.0.0.10 is up"),
        ({"link": LINK._replace(mtu=1500)}, "NOTE", "a VPC carries 9001 bytes, ens5 1500"),
        ({"kernel_fault": "Operation not permitted"}, "FAULT", "Operation not permitted"),
        ({"routes": Difference((Add(OURS),) * 5, (), 0)}, "FAULT", "100.64.0.64/26 and 2 more"),
        ({"routes": Difference((), (Conflict(OURS, THEIRS),), 4)}, "FAULT", "(protocol 4) stands in"),
        ({"strays": (THEIRS,)}, "DOUBT", "lead into the pod CIDR: 100.64.0.64/26 via 10.0.0.77"),
        ({"switches": {"ipv4/ip_forward": ("1", "0")}}, "FAULT", "ipv4.ip_forward is 0, not 1"),
        ({"nft_fault": "nft: not found"}, "FAULT", "nft: not found"),
        ({"table": False}, "FAULT", "inet podway is missing"),
        ({"others": Others(unaccepting=("iptables-nft FORWARD",))}, "FAULT", "FORWARD drops pods'"),
        ({"others": Others(dropping=("inet firewalld filter_FORWARD",))}, "DOUBT", "firewalld"),
        ({"others": Others(docker=True)}, "NOTE", "makes FORWARD drop"),
        ({"others": Others(kube_proxy=True)}, "NOTE", "relayed packets pass it by"),
        ({"others": Others(strangers=(OWN,))}, "DOUBT", "takes pods outside 100.64.0.0/26 for strangers"),
        ({"others": Others(configurations=("05-cilium.conf", "10-podway.conflist"))}, "FAULT", "05-cilium"),
        ({"missing_plugins": ("ptp",)}, "FAULT", "plugins not found: ptp"),
        ({"missing_plugins": ("ptp",), "contained": True}, "DOUBT", "plugins not found: ptp"),
        ({"missing_programs": ("iptables",)}, "DOUBT", "portmap cannot do without iptables"),
        ({"conflist": None}, "FAULT", "although the node is ready"),
        ({"conflist": None, "snapshot": snapshot(SIBLING)}, "NOTE", "not ready for pods"),
        ({"conflist": (AWAY,)}, "FAULT", "does not name 100.64.0.0/26"),
        ({"usage": Usage(49, 61, 1)}, "DOUBT", "49 of 61 in use; another block is asked for"),
        ({"usage": Usage(61, 61, 1)}, "FAULT", "no pod can start"),
        ({"allowances": {"pps": 7, "bw_in": 0}}, "DOUBT", "held packets back since boot: pps 7"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)  # fmt: skip
def test_what_is_wrong_is_named(changed: dict[str, Any], level: str, said: str) -> None:
    findings = diagnose(replace(HEALTHY, **changed), SETTINGS)

    assert [one.level.name for one in findings if said in one.what] == [level]
    assert verdict(findings) >= Level[level]


def test_every_fault_and_doubt_that_has_a_cure_names_it() -> None:
    bad = replace(HEALTHY, store_fault="away", table=False, missing_plugins=("ptp",), alive=False)

    without = [one.what for one in diagnose(bad, SETTINGS) if one.level >= Level.DOUBT and not one.remedy]

    assert without == []


def test_pods_that_are_larger_than_their_interface_are_a_fault() -> None:
    findings = diagnose(
        replace(HEALTHY, link=LINK._replace(mtu=1500)), SETTINGS.model_copy(update={"mtu": 9001})
    )

    assert [one.what for one in findings if one.level is Level.FAULT] == [
        "pods' MTU of 9001 is more than ens5 takes (1500)"
    ]


def test_the_exit_status_is_that_of_the_worst() -> None:
    fine, doubt, fault = (
        diagnosis.Finding(level, "x", "y") for level in (Level.FINE, Level.DOUBT, Level.FAULT)
    )

    assert [verdict([]), verdict([fine]), verdict([fault, doubt]), verdict([doubt, fine])] == [0, 0, 2, 1]


def test_a_finding_is_a_line_and_its_remedy_another() -> None:
    assert (
        line(diagnosis.Finding(Level.FAULT, "store", "away", "wait")) == "FAULT store: away\n      -> wait\n"
    )
    assert line(diagnosis.Finding(Level.FINE, "store", "here")) == "ok    store: here\n"


def test_kube_proxys_strangers_are_read_from_its_rules() -> None:
    saved = """
-A KUBE-SVC-ERIFXISQEP7F7OF4 ! -s 100.64.0.0/26 -d 10.96.0.10/32 -m tcp --dport 53 -j KUBE-MARK-MASQ
-A KUBE-SERVICES ! -s 100.64.0.0/16 -d 10.96.0.1/32 -p tcp -j KUBE-MARK-MASQ
-A KUBE-SEP-X -s 10.0.0.1/32 -j KUBE-MARK-MASQ
-A OTHER ! -s 192.0.2.0/24 -j KUBE-MARK-MASQ
"""

    assert strangers(saved) == prefixes(["100.64.0.0/16", "100.64.0.0/26"])


def test_strays_are_others_routes_into_the_pod_cidr_but_not_our_pods(tmp_path: Path) -> None:
    pod = KernelRoute(Key(Prefix.of_address("100.64.0.5"), 0), Target(Kind.UNICAST, None, 9), 2)
    elsewhere = KernelRoute(Key(Prefix.parse("192.168.0.0/16"), 0), Target(Kind.UNICAST, 1, 2), 4)
    ours = KernelRoute(OURS.key, OURS.target, 112)

    assert strays([pod, elsewhere, ours, THEIRS], snapshot(), HERE) == (THEIRS,)


def test_switches_that_are_not_as_they_should_be_are_found(tmp_path: Path) -> None:
    from podway_agent.kernel.sysctl import wanted_switches

    for name, value in wanted_switches("ens5", ipv6=False).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert wrong_switches(LINK, snapshot(), tmp_path) == {}

    (tmp_path / "ipv4/conf/ens5/rp_filter").write_text("1\n")
    assert wrong_switches(LINK, snapshot(), tmp_path) == {"ipv4/conf/ens5/rp_filter": ("2", "1")}


def test_a_runtime_reads_what_ends_so_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("99-loopback.conf", "10-podway.conflist", ".10-podway.new", "05-x.json", "README"):
        (tmp_path / name).touch()

    assert configurations(tmp_path) == ("05-x.json", "10-podway.conflist", "99-loopback.conf")
    assert configurations(tmp_path / "nowhere") == ()
