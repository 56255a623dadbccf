"""From facts to findings: what is wrong with this node, and what to do about it. Pure. `look` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot

from podway_agent.host.identity import Identity
from podway_agent.kernel.difference import Difference
from podway_agent.kernel.membership import own_member
from podway_agent.kernel.routing import KernelRoute, Link, text
from podway_agent.pods import conflist
from podway_agent.settings import Settings
from podway_agent.usage import NO_USAGE, Usage

PLUGINS = ("ptp", "host-local", "portmap", "bandwidth")
_SHOWN = 3
"""How many of a list are named; the rest is counted."""
_JUMBO_BYTES = 9001
_SILENT_COMPARISONS = 5
"""Full comparisons without a new status: the agent writes it after each."""


class Level(IntEnum):
    """How bad a finding is. The worst is the command's exit status; notes do not count."""

    FINE = -2
    NOTE = -1
    DOUBT = 1
    FAULT = 2


@dataclass(frozen=True)
class Finding:
    """One sentence about one subject, and what to do."""

    level: Level
    subject: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Others:
    """Who else has a hand in this node's packets."""

    unaccepting: tuple[str, ...] = ()
    """Chains of iptables that drop by policy and lack our rules."""
    dropping: tuple[str, ...] = ()
    """Chains of others that drop by policy, in which we add nothing."""
    kube_proxy: bool = False
    strangers: tuple[Prefix, ...] = ()
    """Ranges outside which kube-proxy takes every source for a stranger, and masquerades it."""
    docker: bool = False
    configurations: tuple[str, ...] = ()
    """Files in the runtime's network directory that it reads, in its order."""


@dataclass(frozen=True)
class Facts:
    """What was seen. A ``…_fault`` says why a thing could not be seen; empty: it could."""

    now: datetime
    identity: Identity | None = None
    identity_fault: str = ""
    stored: int | None = None
    """Generation in the store; None: there is none yet."""
    stored_epoch: int = 1
    store_fault: str = ""
    snapshot: Snapshot | None = None
    """The last good one on disk."""
    status: Mapping[str, Any] | None = None
    alive: bool = False
    """Whether the process that wrote the status runs."""
    link: Link | None = None
    routes: Difference | None = None
    strays: tuple[KernelRoute, ...] = ()
    """Foreign routes to parts of the pod CIDR that are not this node's pods'."""
    switches: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Switches that are not as they should be: to what each should be and what it is."""
    kernel_fault: str = ""
    table: bool = False
    nft_fault: str = ""
    conflist: tuple[Prefix, ...] | None = None
    """The blocks that our CNI configuration names."""
    contained: bool = False
    """Whether this is a container: it sees only those of the node's programs that are mounted."""
    missing_plugins: tuple[str, ...] = ()
    missing_programs: tuple[str, ...] = ()
    usage: Usage = NO_USAGE
    allowances: Mapping[str, int] = field(default_factory=dict)
    others: Others = Others()


Said = Iterator[Finding]


def diagnose(facts: Facts, settings: Settings) -> tuple[Finding, ...]:
    """All findings, in the order in which a node comes to life."""
    chapters: tuple[Callable[[Facts, Settings], Said], ...] = (
        *(_identity, _agent, _store, _membership, _interface, _routes, _switches),
        *(_filters, _forward, _kube_proxy, _network, _addresses, _allowances, _unseen),
    )
    return tuple(finding for chapter in chapters for finding in chapter(facts, settings))


def verdict(findings: Iterable[Finding]) -> int:
    """The exit status: 0 nothing wrong, 1 doubts only, 2 faults."""
    return max(0, *(finding.level for finding in findings), 0)


def _some(many: Iterable[object]) -> str:
    """The first of *many*, and how many there are."""
    named = [str(one) for one in many]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more


def _identity(facts: Facts, _: Settings) -> Said:
    me = facts.identity
    if me is not None:
        yield Finding(Level.FINE, "identity", f"{me.instance}, {me.address} in {me.subnet}")
    if facts.identity_fault:
        yield Finding(
            Level.FAULT if me is None else Level.DOUBT,
            "identity",
            facts.identity_fault,
            "the instance metadata service (version 2) must be enabled, and the node needs an instance role",
        )


def _agent(facts: Facts, settings: Settings) -> Said:
    start = "systemctl status podway-agent; journalctl -u podway-agent"
    if facts.status is None:
        yield Finding(Level.FAULT, "agent", "has not compared this kernel yet", start)
        return
    when = str(facts.status.get("time", "?"))
    if not facts.alive:
        yield Finding(Level.FAULT, "agent", f"does not run; the node stays as it was at {when}", start)
    elif _is_old(when, facts.now, timedelta(seconds=_SILENT_COMPARISONS * settings.resync_seconds)):
        yield Finding(Level.FAULT, "agent", f"runs, and has not compared the kernel since {when}", start)
    else:
        yield Finding(Level.FINE, "agent", f"compared the kernel at {when}")
    for fault in facts.status.get("faults", ()):
        yield Finding(Level.FAULT, "agent", f"reports: {fault}")
    for warning in facts.status.get("warnings", ()):
        yield Finding(Level.DOUBT, "agent", f"warns: {warning}")


def _is_old(when: str, now: datetime, allowed: timedelta) -> bool:
    try:
        return now - datetime.fromisoformat(when) > allowed
    except (TypeError, ValueError):
        return True


def _store(facts: Facts, settings: Settings) -> Said:
    known = facts.snapshot
    kept = f"generation {known.generation}, written {known.written:%Y-%m-%d %H:%M}Z" if known else ""
    if facts.store_fault:
        hold = f"the node goes on with {kept}" if kept else "there is no snapshot on disk either"
        remedy = (
            "a way to DynamoDB (gateway endpoint), the stack's policy on the instance role, the right clock"
        )
        level = Level.DOUBT if kept else Level.FAULT
        yield Finding(level, "store", f"{facts.store_fault}; {hold}", remedy)
    elif facts.stored is None:
        yield Finding(
            Level.FAULT,
            "store",
            f"table {settings.table} has no snapshot of this subnet",
            "is the instance tagged as a member, and does reconcile run? podway status says it",
        )
    elif known is None or (known.epoch, known.generation) < (facts.stored_epoch, facts.stored):
        behind = f"at generation {facts.stored}; here there is {kept or 'none'}"
        yield Finding(Level.DOUBT, "store", behind, "is the agent running? it reads every 2 to 30 seconds")
    elif (known.epoch, known.generation) > (facts.stored_epoch, facts.stored):
        yield Finding(
            Level.FAULT,
            "store",
            f"at generation {facts.stored}, older than the {known.generation} that this node obeys",
            "was the table restored or made anew? then `podway restore` begins an epoch that agents obey",
        )
    else:
        yield Finding(Level.FINE, "store", f"this node has its newest snapshot: {kept}")


def _membership(facts: Facts, _: Settings) -> Said:
    if facts.snapshot is None or facts.identity is None:
        return
    member = own_member(facts.snapshot, facts.identity.instance)
    if member is None:
        remedy = "tag the instance as a member; podway status lists who is one"
        yield Finding(Level.FAULT, "membership", "the subnet's snapshot does not know this node", remedy)
        return
    waiting = [str(block.cidr) for block in member.blocks if not block.ready]
    ready = [str(block.cidr) for block in member.blocks if block.ready]
    if not member.blocks:
        remedy = "has the pod CIDR room? podway status says it"
        yield Finding(Level.FAULT, "membership", "this node has no block", remedy)
    if ready:
        yield Finding(Level.FINE, "membership", f"{member.state}, with {_some(ready)}")
    if waiting:
        yield Finding(
            Level.DOUBT,
            "membership",
            f"{_some(waiting)} waits until it is covered in every table and its forwarders know it",
            "podway explain names the forwarders that have not acknowledged it",
        )


def _interface(facts: Facts, settings: Settings) -> Said:
    link = facts.link
    if facts.kernel_fault:
        yield Finding(Level.FAULT, "kernel", facts.kernel_fault, "run this as root, on the node itself")
    if link is None or not link.up:
        if facts.identity is not None and not facts.kernel_fault:
            wanted = settings.interface or f"with {facts.identity.address}"
            yield Finding(Level.FAULT, "interface", f"no interface {wanted} is up")
        return
    yield Finding(Level.FINE, "interface", f"{link.name}, MTU {link.mtu}")
    if settings.mtu > link.mtu:
        yield Finding(
            Level.FAULT,
            "interface",
            f"pods' MTU of {settings.mtu} is more than {link.name} takes ({link.mtu})",
            "unset the agent's setting mtu",
        )
    elif link.mtu < _JUMBO_BYTES:
        yield Finding(Level.NOTE, "interface", f"a VPC carries {_JUMBO_BYTES} bytes, {link.name} {link.mtu}")


def _routes(facts: Facts, _: Settings) -> Said:
    found = facts.routes
    if found is None:
        return
    if found.is_complete:
        yield Finding(Level.FINE, "routes", f"all {found.present} stand")
    if found.changes:
        missing = _some(change.route.key.prefix for change in found.changes)
        yield Finding(Level.FAULT, "routes", f"missing or wrong: {missing}", "a running agent repairs them")
    for conflict in found.conflicts[:_SHOWN]:
        yield Finding(
            Level.FAULT,
            "routes",
            f"{_foreign(conflict.foreign)} stands in the way of ours",
            "remove it, or whatever puts it there: the agent leaves others' routes alone",
        )
    if facts.strays:
        yield Finding(
            Level.DOUBT,
            "routes",
            f"others' routes lead into the pod CIDR: {_some(map(_foreign, facts.strays))}",
            "is another network plugin at work here?",
        )


def _foreign(route: KernelRoute) -> str:
    prefix, target = route.key.prefix, route.target
    way = f" via {text(target.gateway, prefix.version)}" if target.gateway else ""
    return f"{prefix}{way} (protocol {route.protocol})"


def _switches(facts: Facts, _: Settings) -> Said:
    for switch, (wanted, present) in facts.switches.items():
        yield Finding(
            Level.FAULT,
            "sysctl",
            f"{switch.replace('/', '.')} is {present}, not {wanted}",
            "a running agent sets it; look for who resets it in /etc/sysctl.d and /usr/lib/sysctl.d",
        )
    if facts.link is not None and not facts.switches and not facts.kernel_fault:
        yield Finding(Level.FINE, "sysctl", "forwarding, redirects and rp_filter are as they must be")


def _filters(facts: Facts, _: Settings) -> Said:
    if facts.nft_fault:
        yield Finding(Level.FAULT, "filters", facts.nft_fault, "install nftables; run this as root")
    elif not facts.table:
        remedy = "a running agent puts it there; does somebody run nft flush ruleset?"
        yield Finding(Level.FAULT, "filters", "the table inet podway is missing", remedy)
    else:
        yield Finding(Level.FINE, "filters", "the table inet podway is there")


def _forward(facts: Facts, _: Settings) -> Said:
    if facts.others.docker:
        yield Finding(Level.NOTE, "Docker", "is here, and makes FORWARD drop what nobody accepts")
    for chain in facts.others.unaccepting:
        yield Finding(
            Level.FAULT, "filters", f"{chain} drops pods' packets", "a running agent adds rules that accept"
        )
    for chain in facts.others.dropping:
        yield Finding(
            Level.DOUBT,
            "filters",
            f"chain {chain} drops what it does not accept, and is not ours to change",
            "have its owner (firewalld, for example) accept the pod CIDR as source and as destination",
        )


def _kube_proxy(facts: Facts, _: Settings) -> Said:
    others, snapshot = facts.others, facts.snapshot
    if others.kube_proxy:
        yield Finding(Level.NOTE, "kube-proxy", "is here; relayed packets pass it by")
    if snapshot is None:
        return
    narrow = [
        str(known)
        for known in others.strangers
        if not any(known.contains(cidr) for cidr in snapshot.pod_cidrs if cidr.version == known.version)
    ]
    if narrow:
        yield Finding(
            Level.DOUBT,
            "kube-proxy",
            f"takes pods outside {_some(narrow)} for strangers, and hides their addresses from services",
            f"--cluster-cidr={','.join(map(str, snapshot.pod_cidrs))}, local by ClusterCIDR, not NodeCIDR",
        )


def _network(facts: Facts, settings: Settings) -> Said:
    first = [name for name in facts.others.configurations if name < conflist.FILE]
    if first:
        yield Finding(
            Level.FAULT,
            "CNI",
            f"the runtime takes {first[0]}, since it sorts before {conflist.FILE}",
            f"remove it from {settings.cni_conf_dir}",
        )
    if facts.missing_plugins:
        yield Finding(
            Level.DOUBT if facts.contained else Level.FAULT,
            "CNI",
            f"plugins not found: {', '.join(facts.missing_plugins)}",
            "install containernetworking-plugins where the runtime looks (/opt/cni/bin, /usr/lib/cni)",
        )
    if facts.missing_programs:
        yield Finding(
            Level.DOUBT, "CNI", f"portmap cannot do without {', '.join(facts.missing_programs)}", "install it"
        )
    yield from _conflist(facts)


def _conflist(facts: Facts) -> Said:
    ready: tuple[Prefix, ...] = ()
    if facts.snapshot is not None and facts.identity is not None:
        ready = conflist.ready_blocks(facts.snapshot, facts.identity.instance)
    if facts.conflist is None:
        level = Level.FAULT if ready else Level.NOTE
        why = "although the node is ready" if ready else "since the node is not ready for pods"
        yield Finding(level, "CNI", f"there is no {conflist.FILE}, {why}")
    elif missing := [str(block) for block in ready if block not in facts.conflist]:
        yield Finding(Level.FAULT, "CNI", f"{conflist.FILE} does not name {_some(missing)}")
    else:
        yield Finding(Level.FINE, "CNI", f"{conflist.FILE} names {_some(facts.conflist)}")


def _addresses(facts: Facts, _: Settings) -> Said:
    usage = facts.usage
    if not usage.blocks:
        return
    said = f"{usage.used} of {usage.room} in use"
    if usage.used >= usage.room:
        yield Finding(Level.FAULT, "addresses", f"{said}: no pod can start", "has the pod CIDR room?")
    elif usage.wanted > usage.blocks:
        yield Finding(Level.DOUBT, "addresses", f"{said}; another block is asked for")
    else:
        yield Finding(Level.FINE, "addresses", said)


def _allowances(facts: Facts, _: Settings) -> Said:
    if over := [f"{name} {count}" for name, count in facts.allowances.items() if count]:
        remedy = "a larger instance type, or less traffic per forwarder; conntrack: fewer flows"
        yield Finding(Level.DOUBT, "EC2", f"held packets back since boot: {', '.join(over)}", remedy)


def _unseen(facts: Facts, _: Settings) -> Said:
    if facts.identity is not None:
        yield Finding(
            Level.NOTE,
            "EC2",
            "whether the source/destination check is off cannot be seen from here",
            "aws ec2 describe-instances shows SourceDestCheck, which must be false; security groups must let"
            " the pod CIDR in, by CIDR",
        )
