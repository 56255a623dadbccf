"""Our one nftables table: what is exempt from connection tracking, what is masqueraded, what is closed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from podway.domain.addressing import WIDTH, Prefix

from podway_agent.programs import run_program

TABLE = "podway"
METADATA = {4: "169.254.169.254", 6: "fd00:ec2::254"}
RESOLVERS = {4: ("169.254.169.253",), 6: ("fd00:ec2::253",)}
"""The VPC resolver's fixed addresses; it has one more at the VPC range's base plus two."""
TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
SELECTOR = {4: "ip", 6: "ip6"}


class NftFailed(Exception):
    """nft is not there, did not end, or refused."""


@dataclass(frozen=True)
class Filtering:
    """What the table must say."""

    interface: str
    own_blocks: tuple[Prefix, ...]
    reachable_here: tuple[Prefix, ...]
    """Prefixes whose managed route may point at this node: packets for others arrive under them."""
    pod_cidrs: tuple[Prefix, ...]
    keep_source_towards: tuple[Prefix, ...] = ()
    metadata_for_pods: bool = False


def table_text(filtering: Filtering) -> str:
    """The table as one transaction: made if missing, emptied, filled; packets meet the old or the new."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for version in (4, 6):
        lines += _sets(filtering, version)
    lines += _relay(filtering) + _pods(filtering) + _leaving(filtering)
    return "\n".join([*lines, "}", ""])


def _of(prefixes: Iterable[Prefix], version: int) -> list[Prefix]:
    return sorted(prefix for prefix in set(prefixes) if prefix.version == version)


def _sets(filtering: Filtering, version: int) -> list[str]:
    named = {
        "own": filtering.own_blocks,
        "relayed": filtering.reachable_here,
        "pods": filtering.pod_cidrs,
        "kept": filtering.keep_source_towards,
    }
    lines = []
    for name, prefixes in named.items():
        elements = ", ".join(map(str, _of(prefixes, version)))
        lines += [f" set {name}{version} {{", f"  type {TYPE[version]}", "  flags interval", "  auto-merge"]
        lines += [f"  elements = {{ {elements} }}"] if elements else []
        lines.append(" }")
    return lines


def _relay(filtering: Filtering) -> list[str]:
    """Relayed packets are not tracked, whatever their source.

    A forwarder sees half of each flow: tracked, the client's ACK is INVALID, and kube-proxy
    drops what is INVALID.
    """
    lines = [" chain relayed {", "  type filter hook prerouting priority raw; policy accept;"]
    for v, ip in SELECTOR.items():
        arriving = f'iifname "{filtering.interface}" {ip} daddr @relayed{v}'
        lines.append(f"  {arriving} {ip} daddr != @own{v} counter notrack")
    return [*lines, " }"]


def _pods(filtering: Filtering) -> list[str]:
    """Keep pods from the metadata service, and so from the node's credentials."""
    if filtering.metadata_for_pods:
        return []
    lines = [" chain pods {", "  type filter hook prerouting priority filter; policy accept;"]
    for v, ip in SELECTOR.items():
        asking = f"{ip} saddr @own{v} {ip} daddr {METADATA[v]}"
        lines.append(f"  {asking} counter reject with icmpx admin-prohibited")
    return [*lines, " }"]


def _leaving(filtering: Filtering) -> list[str]:
    """Masquerade what our pods send to anything but pods, or ranges that know the pods.

    The resolver and the metadata service answer addresses of the VPC only: always masqueraded.
    """
    lines = [" chain leaving {", "  type nat hook postrouting priority srcnat + 5; policy accept;"]
    for v, ip in SELECTOR.items():
        kept = _of(filtering.keep_source_towards, v)
        bases = (Prefix(v, prefix.value + 2, WIDTH[v]).first_address for prefix in kept)
        always = ", ".join(sorted({*RESOLVERS[v], METADATA[v], *bases}))
        for destinations in (f"{ip} daddr {{ {always} }}", f"{ip} daddr != @pods{v} {ip} daddr != @kept{v}"):
            lines.append(f"  {ip} saddr @own{v} {destinations} counter masquerade fully-random")  # noqa: PERF401  (a comprehension of this is unreadable)
    return [*lines, " }"]


def run_nft(*arguments: str, script: str | None = None) -> str:
    """What nft prints. Raises NftFailed."""
    done = run_program("nft", *arguments, text=script)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise NftFailed(f"nft: {complaint[0]}")
    return done.stdout


def present_table() -> str | None:
    """The table as the kernel has it, in a form that two looks can be compared in; None if there is none."""
    try:
        listed = run_nft("--stateless", "--json", "list", "table", "inet", TABLE)
    except NftFailed as error:
        if "No such file" in str(error):
            return None
        raise
    return json.dumps(_without_handles(json.loads(listed)), sort_keys=True)


def _without_handles(value: Any) -> Any:
    """Numbers that change with each replacement say nothing."""
    if isinstance(value, dict):
        return {
            name: None if name == "counter" else _without_handles(part)
            for name, part in value.items()
            if name not in ("handle", "metainfo")
        }
    return [_without_handles(part) for part in value] if isinstance(value, list) else value


class Table:
    """Our table in the kernel: replaced when it should say something else, or when somebody changed it."""

    def __init__(self) -> None:
        self._wanted: str | None = None
        self._seen: str | None = None
        self.repairs = 0

    def ensure(self, filtering: Filtering, *, look: bool) -> None:
        """Make the kernel hold the table; with *look*, even if it is the one that we last put there.

        Raises NftFailed.
        """
        wanted = table_text(filtering)
        if wanted == self._wanted:
            if not look or present_table() == self._seen:
                return
            self.repairs += 1
        self._wanted = None
        run_nft("-f", "-", script=wanted)
        self._seen = present_table()
        self._wanted = wanted

    @staticmethod
    def remove() -> None:
        """Remove the table, if it is there. Raises NftFailed."""
        run_nft("-f", "-", script=f"table inet {TABLE}\ndelete table inet {TABLE}\n")
