"""Our one nftables table: what is not tracked, what is refused, what is masqueraded, what is closed.

Dataplane installs it, uninstall removes it, doctor looks whether it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from podway.domain.addressing import WIDTH, Prefix

from podway_agent.kernel.membership import probe_address
from podway_agent.kernel.programs import run_program

Json: TypeAlias = dict[str, Any]
_FAMILY = "inet"
TABLE = "podway"
RAW, FILTER, AFTER_SOURCE_NAT = -300, 0, 105
"""Priorities (nft(8)): before connection tracking, the ordinary one, after everybody's source NAT."""
METADATA = {4: "169.254.169.254", 6: "fd00:ec2::254"}
RESOLVERS = {4: ("169.254.169.253",), 6: ("fd00:ec2::253",)}
"""The VPC resolver's fixed addresses; it has one more at the VPC range's base plus two."""
TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
SELECTOR = {4: "ip", 6: "ip6"}
FAMILY_NAME = {4: "ipv4", 6: "ipv6"}
ICMP = {4: "icmp", 6: "ipv6-icmp"}


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
    elsewhere: tuple[Prefix, ...] = ()
    """What of these another subnet owns: such packets leave again, for the VPC router."""
    routers: tuple[Prefix, ...] = ()
    """Addresses of the VPC router: next hop of what the node has no route of ours to."""
    keep_source_towards: tuple[Prefix, ...] = ()
    metadata_for_pods: bool = False


def transaction(filtering: Filtering) -> Json:
    """The table as one transaction: made if missing, removed, made anew; packets meet the old or the new.

    In nft's own JSON (libnftables-json(5)), so that nothing is ever quoted or parsed as text.
    """
    ours = {"table": {"family": _FAMILY, "name": TABLE}}
    commands: list[Json] = [{"add": ours}, {"delete": ours}, {"add": ours}]
    commands += [{"add": made} for version in _versions(filtering) for made in _sets(filtering, version)]
    for chain, rules in (
        (_chain("relayed", "filter", "prerouting", RAW), _relay(filtering)),
        (_chain("probing", "filter", "output", RAW), _probes(filtering, "saddr")),
        (_chain("pods", "filter", "prerouting", FILTER), _pods(filtering)),
        (_chain("entering", "filter", "forward", FILTER), _entering(filtering)),
        (_chain("leaving", "nat", "postrouting", AFTER_SOURCE_NAT), _leaving(filtering)),
    ):
        commands.append({"add": {"chain": chain}})
        commands += [{"add": {"rule": _named(chain["name"]) | {"expr": rule}}} for rule in rules]
    return {"nftables": commands}


def _named(chain: str) -> Json:
    return {"family": _FAMILY, "table": TABLE, "chain": chain}


def _chain(name: str, kind: str, hook: str, priority: int) -> Json:
    where = {"family": _FAMILY, "table": TABLE, "name": name}
    return {**where, "type": kind, "hook": hook, "prio": priority, "policy": "accept"}


def _versions(filtering: Filtering) -> list[int]:
    """The address families of the pods: each rule costs every packet a little."""
    held = (*filtering.pod_cidrs, *filtering.own_blocks, *filtering.reachable_here)
    return sorted({prefix.version for prefix in held})


def _of(prefixes: Iterable[Prefix], version: int) -> list[Prefix]:
    return sorted(prefix for prefix in set(prefixes) if prefix.version == version)


def _sets(filtering: Filtering, version: int) -> Iterator[Json]:
    named = {
        "own": filtering.own_blocks,
        "relayed": filtering.reachable_here,
        "elsewhere": filtering.elsewhere,
        "pods": filtering.pod_cidrs,
        "kept": filtering.keep_source_towards,
    }
    for name, prefixes in named.items():
        elements = [_element(prefix) for prefix in _of(prefixes, version)]
        made = {
            "family": _FAMILY,
            "table": TABLE,
            "name": f"{name}{version}",
            "type": TYPE[version],
            "flags": ["interval"],
            "auto-merge": True,
        }
        yield {"set": made | ({"elem": elements} if elements else {})}


def _element(prefix: Prefix) -> Json:
    return {"prefix": {"addr": prefix.first_address, "len": prefix.length}}


def _match(left: Any, right: Any, *, unless: bool = False) -> Json:
    return {"match": {"op": "!=" if unless else "==", "left": left, "right": right}}


def _field(version: int, field: str) -> Json:
    return {"payload": {"protocol": SELECTOR[version], "field": field}}


def _meta(key: str, value: str, *, unless: bool = False) -> Json:
    return _match({"meta": {"key": key}}, value, unless=unless)


COUNTED: Json = {"counter": None}


def _relay(filtering: Filtering) -> Iterator[list[Json]]:
    """Relayed packets are not tracked, whatever their source.

    A forwarder sees half of each flow. Were that tracked, the client's ACK would be INVALID, and
    kube-proxy drops what is INVALID.
    """
    arriving = _meta("iifname", filtering.interface)
    for v in _versions(filtering):
        yield [arriving, *_for_others(v), COUNTED, {"notrack": None}]
    yield from _probes(filtering, "daddr")


def _for_others(version: int) -> list[Json]:
    target = _field(version, "daddr")
    return [_match(target, f"@relayed{version}"), _match(target, f"@own{version}", unless=True)]


def _entering(filtering: Filtering) -> Iterator[list[Json]]:
    """Refuse what comes in for an address that nobody here knows: sent on, it would loop.

    The kernel's own lookup tells who is unknown. Where it found no route of ours, the packet is about to
    leave for the VPC router, or by another interface. Two kinds of packet may leave so:
    (1) what the node and its pods send: it did not come in by the node's interface;
    (2) what came in for the node itself and was given another target (a NodePort): it is tracked.
    The subnet's own route table leads these to a forwarder. It polls fast, and knows siblings of which this
    node has not heard yet (docs/agent.md, "Siblings that are new").
    """
    own = filtering.interface
    arrived = [_meta("iifname", own), _match({"ct": {"key": "state"}}, "untracked")]
    refuse = [COUNTED, {"reject": {"type": "icmpx", "expr": "host-unreachable"}}]
    for v in _versions(filtering):
        unknown = [*_for_others(v), _match(_field(v, "daddr"), f"@elsewhere{v}", unless=True)]
        if routers := _of(filtering.routers, v):
            next_hop = {"rt": {"key": "nexthop", "family": SELECTOR[v]}}
            to_router = _match(next_hop, {"set": [router.first_address for router in routers]})
            yield [
                *arrived,
                _meta("nfproto", FAMILY_NAME[v]),
                _meta("oifname", own),
                to_router,
                *unknown,
                *refuse,
            ]
            yield [*arrived, _meta("oifname", own, unless=True), *unknown, *refuse]


def _probes(filtering: Filtering, ours: str) -> Iterator[list[Json]]:
    """Probes and their answers are not tracked: a node whose table of flows is full still relays."""
    for v in _versions(filtering):
        if blocks := _of(filtering.own_blocks, v):
            own = {"set": [probe_address(block).first_address for block in blocks]}
            yield [
                _meta("l4proto", ICMP[v]),
                _match(_field(v, ours), own),
                {"notrack": None},
            ]


def _pods(filtering: Filtering) -> Iterator[list[Json]]:
    """Keep pods from the metadata service, and so from the node's credentials."""
    refuse = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
    for v in () if filtering.metadata_for_pods else _versions(filtering):
        asking = [_match(_field(v, "daddr"), METADATA[v]), _match(_field(v, "saddr"), f"@own{v}")]
        yield [*asking, COUNTED, refuse]


def _leaving(filtering: Filtering) -> Iterator[list[Json]]:
    """Masquerade what our pods send to anything but pods, or ranges that know the pods.

    The resolver and the metadata service answer addresses of the VPC only: always masqueraded.
    """
    hidden = [COUNTED, {"masquerade": {"flags": "fully-random"}}]
    for v in _versions(filtering):
        source, target = _match(_field(v, "saddr"), f"@own{v}"), _field(v, "daddr")
        kept = _of(filtering.keep_source_towards, v)
        bases = (Prefix(v, prefix.value + 2, WIDTH[v]).first_address for prefix in kept)
        always = sorted({*RESOLVERS[v], METADATA[v], *bases})
        yield [source, _match(target, {"set": always}), *hidden]
        elsewhere = [_match(target, f"@{name}{v}", unless=True) for name in ("pods", "kept")]
        yield [source, *elsewhere, *hidden]


def run_nft(*arguments: str, script: str | None = None) -> str:
    """What nft prints. Raises NftFailed."""
    done = run_program("nft", *arguments, text=script)
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise NftFailed(f"nft: {complaint[0]}")
    return done.stdout


def present_table() -> str | None:
    """The table as the kernel has it, as text to compare with another look; None if there is none."""
    try:
        listed = run_nft("--stateless", "--json", "list", "table", _FAMILY, TABLE)
    except NftFailed as error:
        if "No such file" in str(error):
            return None
        raise
    return json.dumps(_without_handles(json.loads(listed)), sort_keys=True)


def _without_handles(value: Any) -> Any:
    """Leave out what differs between two looks at the same table: handles, and counts."""
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
        """Times that somebody else had changed or removed it."""

    @property
    def installed(self) -> bool:
        """Whether it is in the kernel, as far as we know."""
        return self._wanted is not None

    def ensure(self, filtering: Filtering, *, look: bool) -> None:
        """Make the kernel hold the table; with *look*, even if it is the one that we last put there.

        Raises NftFailed.
        """
        wanted = json.dumps(transaction(filtering))
        if wanted == self._wanted:
            if not look or present_table() == self._seen:
                return
            self.repairs += 1
        self._wanted = None
        run_nft("--json", "--file", "-", script=wanted)
        self._seen = present_table()
        self._wanted = wanted

    @staticmethod
    def remove() -> None:
        """Remove the table, if it is there. Raises NftFailed."""
        ours = {"table": {"family": _FAMILY, "name": TABLE}}
        run_nft("--json", "--file", "-", script=json.dumps({"nftables": [{"add": ours}, {"delete": ours}]}))
