"""``podway-agent check``: gathers facts, has `diagnosis` judge them, prints. Changes nothing.

The command line calls `check`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot

from podway_agent.dataplane import Dataplane
from podway_agent.doctor.diagnosis import PLUGINS, Facts, Finding, Level, diagnose, verdict
from podway_agent.host import ena
from podway_agent.host.disk import IDENTITY, STATUS, StateDirectory
from podway_agent.host.identity import Identity, MetadataAway, identify
from podway_agent.kernel import forwarding, nft, routing
from podway_agent.kernel.desired import desired_routes
from podway_agent.kernel.difference import difference
from podway_agent.kernel.membership import own_blocks
from podway_agent.kernel.nft import NftFailed
from podway_agent.kernel.programs import ADMIN_PATH, run_program
from podway_agent.kernel.routing import KernelRoute, Link
from podway_agent.kernel.sysctl import PROC, wanted_switches
from podway_agent.pods import conflist
from podway_agent.pods.addresses import count_usage
from podway_agent.settings import Settings
from podway_agent.store.client import Cloud, DynamoDbStore, StoreAway

PLUGIN_DIRECTORIES = "/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni"
"""Upstream's, Debian's and Fedora's."""
READ_BY_RUNTIMES = (".conf", ".conflist", ".json")
STRANGER = re.compile(r"^-A KUBE-(?:SERVICES|SVC-\S+) (?:.* )?! -s (\S+) .*-j KUBE-MARK-MASQ", re.MULTILINE)
"""How kube-proxy spells "whoever does not come from this range"."""
MARKS = {
    Level.FINE: "ok   ",
    Level.NOTE: "note ",
    Level.DOUBT: "doubt",
    Level.FAULT: "FAULT",
}


def check(settings: Settings, *, as_json: bool = False) -> int:
    """Print what is wrong with this node and what to do; the exit status is that of `verdict`."""
    findings = diagnose(look(settings), settings)
    if as_json:
        said = [asdict(one) | {"level": one.level.name.lower()} for one in findings]
        print(json.dumps(said, indent=2))  # noqa: T201  (the command's output)
    else:
        sys.stdout.writelines(map(line, findings))
    return verdict(findings)


def line(finding: Finding) -> str:
    """A finding as the terminal shows it, with the remedy below it, if there is one."""
    said = f"{MARKS[finding.level]} {finding.subject}: {finding.what}\n"
    return said + (f"      -> {finding.remedy}\n" if finding.remedy else "")


def look(settings: Settings) -> Facts:
    """All facts that can be seen from here. Without root, the kernel's fault says so."""
    state = StateDirectory(settings.state_dir)
    status = state.read(STATUS)
    facts = Facts(now=datetime.now(UTC), status=status, alive=_is_alive(status))
    facts = _look_at_identity(facts, settings, state)
    facts = _look_at_filters(facts)
    if (me := facts.identity) is not None:
        facts = replace(facts, snapshot=state.load_snapshot(cluster=settings.cluster, subnet=me.subnet))
        facts = _look_at_store(facts, settings, me)
        facts = _look_at_kernel(facts, settings, me)
    return _look_at_network(facts, settings)


def _is_alive(status: dict[str, Any] | None) -> bool:
    """Whether the process that wrote the status is there, and is an agent."""
    try:
        command = Path(f"/proc/{int((status or {})['pid'])}/cmdline").read_bytes()
    except (KeyError, TypeError, ValueError, OSError):
        return False
    return b"podway" in command


def _look_at_identity(facts: Facts, settings: Settings, state: StateDirectory) -> Facts:
    """Ask who we are, without trusting the disk; the identity on disk if nobody answers."""
    scratch = _Unwritten(settings.state_dir)
    try:
        found = identify(
            scratch,
            region=settings.region,
            role_id=settings.role_id,
            ask_sts=lambda region: Cloud().user_id(region),
        )
    except (MetadataAway, StoreAway, OSError) as error:
        kept = state.read(IDENTITY)
        try:
            return replace(
                facts, identity=Identity(**kept) if kept else None, identity_fault=f"not known: {error}"
            )
        except TypeError:
            return replace(facts, identity_fault=f"not known: {error}")
    return replace(facts, identity=found)


class _Unwritten(StateDirectory):
    """A state directory that is never written."""

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write nothing."""


def _look_at_store(facts: Facts, settings: Settings, me: Identity) -> Facts:
    store = DynamoDbStore(
        Cloud(), settings.table, region=settings.region or me.region, endpoint=settings.endpoint
    )
    try:
        version = store.version(me.subnet)
    except StoreAway as error:
        return replace(facts, store_fault=str(error))
    return replace(facts, stored=version.generation, stored_epoch=version.epoch) if version else facts


def _look_at_kernel(facts: Facts, settings: Settings, me: Identity) -> Facts:
    plane = Dataplane(settings, me)
    try:
        link = plane.find_link()
        if link is None:
            return facts
        facts = replace(facts, link=link, allowances=ena.exceeded(ena.ethtool(link.name)))
        if facts.snapshot is None:
            return facts
        observed = routing.main_routes(plane.kernel)
        position = plane.position(facts.snapshot, link, observed)._replace(refuses=facts.table)
        wanted = desired_routes(facts.snapshot, position)
        return replace(
            facts,
            routes=difference(desired=wanted.routes, observed=observed),
            strays=strays(observed, facts.snapshot, me.instance),
            switches=wrong_switches(link, facts.snapshot, settings.sysctl_dir),
            others=replace(facts.others, unaccepting=unaccepting(link, facts.snapshot)),
        )
    except OSError as error:
        return replace(facts, kernel_fault=str(error))
    finally:
        plane.kernel.close()


def strays(observed: Iterable[KernelRoute], snapshot: Snapshot, instance: str) -> tuple[KernelRoute, ...]:
    """Foreign routes inside the pod CIDR, except those that the plugins made for this node's own pods."""
    own = own_blocks(snapshot, instance)
    return tuple(
        route
        for route in observed
        if not route.is_ours
        and any(cidr.contains(route.key.prefix) for cidr in snapshot.pod_cidrs)
        and not any(block.contains(route.key.prefix) for block in own)
    )


def wrong_switches(link: Link, snapshot: Snapshot, root: Path) -> dict[str, tuple[str, str]]:
    """The switches that are not as they should be: to what each should be and what it is. Raises OSError."""
    ipv6 = any(cidr.version == 6 for cidr in snapshot.pod_cidrs)  # noqa: PLR2004  (the family's own number)
    seen = {
        switch: (wanted, (root / switch).read_text(encoding="ascii").strip())
        for switch, wanted in wanted_switches(link.name, ipv6=ipv6).items()
    }
    return {switch: pair for switch, pair in seen.items() if pair[0] != pair[1]}


def unaccepting(link: Link, snapshot: Snapshot) -> tuple[str, ...]:
    """Chains of iptables that drop by policy and lack a rule of ours."""
    chains, _ = forwarding.dropping_chains()
    return tuple(
        f"{chain.program} FORWARD"
        for chain in chains
        if any(
            run_program(chain.program, "-w", "5", "-C", "FORWARD", *rule).returncode
            for rule in forwarding.rules(link.name, snapshot.pod_cidrs, chain.version)
        )
    )


def _look_at_filters(facts: Facts) -> Facts:
    try:
        table = nft.present_table() is not None
        _, dropping = forwarding.dropping_chains()
        tables = nft.run_nft("list", "tables")
    except NftFailed as error:
        return replace(facts, nft_fault=str(error))
    saved = "".join(map(_saved_rules, ("iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save")))
    others = replace(
        facts.others,
        dropping=tuple(dropping),
        kube_proxy="KUBE-SERVICES" in saved or "kube-proxy" in tables,
        strangers=strangers(saved),
        docker=":DOCKER " in saved,
    )
    return replace(facts, table=table, others=others)


def _saved_rules(program: str) -> str:
    """All rules of one iptables. The legacy one is asked only where it is in use: asking would start it."""
    if "legacy" in program and not _text(forwarding.LEGACY_TABLES[4]):
        return ""
    return run_program(program).stdout


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def strangers(saved: str) -> tuple[Prefix, ...]:
    """The ranges outside which kube-proxy masquerades, in rules as iptables-save prints them."""
    return tuple(sorted({Prefix.parse(cidr) for cidr in STRANGER.findall(saved)}))


def _look_at_network(facts: Facts, settings: Settings) -> Facts:
    """The runtime's directory, the plugins, and how full the blocks are."""
    path = ":".join((os.environ.get("PATH", ""), ADMIN_PATH))
    lacking = _absent(PLUGINS, PLUGIN_DIRECTORIES)
    contained = settings.sysctl_dir != PROC
    facts = replace(
        facts,
        conflist=conflist.blocks_named(settings.cni_conf_dir),
        missing_plugins=lacking,
        contained=contained,
        missing_programs=() if contained else _absent(("iptables",), path),
        others=replace(facts.others, configurations=configurations(settings.cni_conf_dir)),
    )
    if facts.snapshot is None or facts.identity is None:
        return facts
    try:
        usage = count_usage(facts.snapshot, facts.identity.instance, settings.cni_data_dir)
    except OSError as error:
        return replace(facts, kernel_fault=facts.kernel_fault or str(error))
    return replace(facts, usage=usage)


def _absent(programs: Iterable[str], path: str) -> tuple[str, ...]:
    return tuple(program for program in programs if shutil.which(program, path=path) is None)


def configurations(directory: Path) -> tuple[str, ...]:
    """The files that a runtime reads there, in its order."""
    try:
        return tuple(sorted(path.name for path in directory.iterdir() if path.suffix in READ_BY_RUNTIMES))
    except OSError:
        return ()
