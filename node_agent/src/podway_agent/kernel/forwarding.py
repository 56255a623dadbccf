"""Accepts pods' packets where others have set FORWARD's policy to DROP (Docker does). Dataplane calls it.

An ``accept`` in a table of ours cannot overrule another table's drop. So our rules go into the chain
that drops: that of iptables, in either of its two forms.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from podway.domain.addressing import Prefix

from podway_agent.kernel.nft import NftFailed, run_nft
from podway_agent.kernel.programs import run_program

log = logging.getLogger(__name__)

LEGACY_TABLES = {
    4: Path("/proc/thread-self/net/ip_tables_names"),
    6: Path("/proc/thread-self/net/ip6_tables_names"),
}
NFT_FAMILY = {"ip": (4,), "ip6": (6,), "inet": (4, 6)}
PROGRAM = {4: "iptables", 6: "ip6tables"}
COMMENT = "podway"


@dataclass(frozen=True)
class Dropping:
    """A chain that drops what nobody accepts, in a form that a program can add a rule to."""

    program: str
    version: int


def rules(interface: str, pod_cidrs: Iterable[Prefix], version: int) -> list[list[str]]:
    """The rules, each as iptables' arguments after the command; relayed packets first."""
    cidrs = sorted(str(cidr) for cidr in pod_cidrs if cidr.version == version)
    relayed = [["-i", interface, "-o", interface, "-d", cidr] for cidr in cidrs]
    local = [[direction, cidr] for cidr in cidrs for direction in ("-s", "-d")]
    mark = ["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]
    return [match + mark for match in relayed + local]


def dropping_chains() -> tuple[list[Dropping], list[str]]:
    """The chains that drop forwarded packets by policy: those we can add to, and names of the others."""
    ours_to_add: list[Dropping] = []
    others: list[str] = []
    for family, table, chain in _nft_drops():
        if (table, chain) == ("filter", "FORWARD") and family in ("ip", "ip6"):
            version = NFT_FAMILY[family][0]
            ours_to_add.append(Dropping(f"{PROGRAM[version]}-nft", version))
        else:
            others.append(f"{family} {table} {chain}")
    for version, names in LEGACY_TABLES.items():
        program = f"{PROGRAM[version]}-legacy"
        if _listed(names) and _run(program, "-S", "FORWARD").stdout.startswith("-P FORWARD DROP"):
            ours_to_add.append(Dropping(program, version))
    return ours_to_add, others


def _nft_drops() -> list[tuple[str, str, str]]:
    """Base chains of any table that hook FORWARD with policy drop."""
    try:
        listed = json.loads(run_nft("--json", "list", "chains"))
    except NftFailed as error:
        log.warning("chains not listed", extra={"reason": str(error)})
        return []
    chains = [part["chain"] for part in listed["nftables"] if "chain" in part]
    return [
        (chain["family"], chain["table"], chain["name"])
        for chain in chains
        if chain.get("hook") == "forward" and chain.get("policy") == "drop"
    ]


def _listed(names: Path) -> bool:
    """Whether legacy iptables holds a filter table here (asking it would make one)."""
    try:
        return "filter" in names.read_text(encoding="ascii").split()
    except OSError:
        return False


def ensure_acceptance(interface: str, pod_cidrs: Iterable[Prefix]) -> tuple[list[str], list[str]]:
    """Add our rules to every chain of iptables that drops by policy.

    Returns a fault for each chain that refused, and a doubt for each chain that drops and is not
    iptables': whether rules of its own accept pods cannot be known here.
    """
    chains, others = dropping_chains()
    doubts = [f"chain {name} drops what it does not accept, and is not ours to change" for name in others]
    faults: list[str] = []
    cidrs = tuple(pod_cidrs)
    for chain in chains:
        for number, rule in enumerate(rules(interface, cidrs, chain.version)):
            if _run(chain.program, "-C", "FORWARD", *rule).returncode == 0:
                continue
            # what is relayed goes before others' rules (none may track it); what is for our own pods
            # goes behind them, so that network policies decide first
            where = ["-I", "FORWARD"] if number < len(cidrs) and "-i" in rule else ["-A", "FORWARD"]
            added = _run(chain.program, *where, *rule)
            if added.returncode:
                faults.append(f"{chain.program} cannot accept in FORWARD: {added.stderr.strip()}")
    return faults, doubts


def remove_acceptance() -> None:
    """Remove our rules from each FORWARD chain."""
    for version in (4, 6):
        programs = [f"{PROGRAM[version]}-nft"]
        if _listed(LEGACY_TABLES[version]):
            programs.append(f"{PROGRAM[version]}-legacy")
        for program in programs:
            for line in _run(program, "-S", "FORWARD").stdout.splitlines():
                if line.startswith("-A FORWARD ") and f"--comment {COMMENT} -j ACCEPT" in line:
                    _run(program, "-D", *line.split()[1:])


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an iptables, which waits for others' lock."""
    return run_program(program, "-w", "5", *arguments)
