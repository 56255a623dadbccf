"""The kernel's part of probing: this node's probe addresses, and a path through each watched forwarder.

A path is a rule (packets that bear the slot's mark look into the slot's table) and a default route in
that table, whose gateway is the forwarder. We know our rules and routes by their protocol number, and our
addresses by their metric. Desired, observed, difference, as for the main table. Dataplane calls it.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from podway.domain.addressing import WIDTH, Prefix

from podway_agent.kernel import netlink, routing
from podway_agent.kernel.netlink import KernelRefused, Netlink, Request
from podway_agent.kernel.routing import FAMILY, PROTOCOL, U32, UNREACHABLE_METRIC, VERSION, Kind
from podway_agent.probing.targets import MOST_FORWARDERS, ProbeTargets

FIRST_MARK = 0x70
"""Marks 0x70 to 0x7f, compared whole: no bit that kube-proxy (0xc000), portmap (0x2000), Cilium (0xf00),
Calico (0xffff0000) or the VPC CNI (0x80) looks at."""
FIRST_TABLE = 11200
RULE_PRIORITY = 112
ADDRESS_METRIC = 0x70770070
"""Tells our addresses on loopback; a full-length address has no route of its own that it could weigh."""
LOOPBACK = 1
"""Index of ``lo`` in every network namespace."""
PATH_METRIC = 1024

RULE = struct.Struct("=BBBBBBBBI")
FRA_PRIORITY, FRA_MARK, FRA_TABLE, FRA_MASK, FRA_PROTOCOL = 6, 10, 15, 16, 21
TO_TABLE = 1
EXACTLY = 0xFFFFFFFF
RTA_TABLE = 15
IFA_FLAGS, IFA_CACHEINFO, IFA_RT_PRIORITY = 8, 6, 9
PERMANENT_NO_DAD = 0x80 | 0x02
NEVER_PREFERRED = struct.pack("=4I", 0, 0xFFFFFFFF, 0, 0)
"""Preferred lifetime none, valid for ever: no packet of others takes it for its source."""
SCOPE_HOST = 254


class Rule(NamedTuple):
    """Packets of one mark look into one table."""

    version: int
    mark: int
    table: int


class ProbePath(NamedTuple):
    """A default route of a table of ours: through *gateway*, or ``unreachable`` when that is gone.

    Without the second, probes would take the node's own routes after a link flap, and come through.
    """

    version: int
    table: int
    kind: Kind
    gateway: int | None = None
    link: int | None = None


@dataclass(frozen=True)
class Plumbing:
    """Everything that probing needs of the kernel."""

    addresses: frozenset[Prefix] = frozenset()
    rules: frozenset[Rule] = frozenset()
    paths: frozenset[ProbePath] = frozenset()


def mark_of(slot: int) -> int:
    """The mark whose packets leave by the slot's path."""
    return FIRST_MARK + slot


def desired(targets: ProbeTargets, link: int) -> Plumbing:
    """What *targets* need, on the interface with index *link*. Pure."""
    rules, paths = set(), set()
    for one in targets.watched:
        version, table = one.gateway.version, FIRST_TABLE + one.slot
        rules.add(Rule(version, mark_of(one.slot), table))
        paths.add(ProbePath(version, table, Kind.UNICAST, one.gateway.value, link))
        paths.add(ProbePath(version, table, Kind.UNREACHABLE))
    return Plumbing(frozenset(targets.holds), frozenset(rules), frozenset(paths))


# --- reading -----------------------------------------------------------------------------


def observed(kernel: Netlink) -> Plumbing:
    """What the kernel has of ours. Raises KernelRefused."""
    return Plumbing(frozenset(_addresses(kernel)), frozenset(_rules(kernel)), frozenset(_paths(kernel)))


def _addresses(kernel: Netlink) -> Iterable[Prefix]:
    for version in routing.versions():
        question = routing.IFADDRMSG.pack(FAMILY[version], 0, 0, 0, LOOPBACK)
        for answer in kernel.dump(netlink.RTM_GETADDR, question):
            said = netlink.attributes(answer, routing.IFADDRMSG.size)
            if _number(said.get(IFA_RT_PRIORITY)) == ADDRESS_METRIC:
                value = said.get(routing.IFA_LOCAL) or said[routing.IFA_ADDRESS]
                yield Prefix(version, int.from_bytes(value, "big"), WIDTH[version])


def _rules(kernel: Netlink) -> Iterable[Rule]:
    for version in routing.versions():
        question = RULE.pack(FAMILY[version], 0, 0, 0, 0, 0, 0, 0, 0)
        for answer in kernel.dump(netlink.RTM_GETRULE, question):
            if rule := decode_rule(answer):
                yield rule


def decode_rule(payload: bytes) -> Rule | None:
    """The rule in an RTM_*RULE message, if it is ours."""
    said = netlink.attributes(payload, RULE.size)
    family, *_ = RULE.unpack_from(payload)
    version = VERSION.get(family)
    if version is None or said.get(FRA_PROTOCOL) != bytes([PROTOCOL]):
        return None
    return Rule(version, _number(said.get(FRA_MARK)), _number(said.get(FRA_TABLE)))


def _paths(kernel: Netlink) -> Iterable[ProbePath]:
    for version in routing.versions():
        for table in range(FIRST_TABLE, FIRST_TABLE + MOST_FORWARDERS):
            question = routing.RTMSG.pack(FAMILY[version], 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
            question += netlink.attribute(RTA_TABLE, U32.pack(table))
            try:
                answers = kernel.dump(netlink.RTM_GETROUTE, question)
            except KernelRefused as error:
                if error.errno != errno.ENOENT:  # the kernel makes a table with its first route
                    raise
                continue
            yield from filter(None, map(decode_path, answers))


def decode_path(payload: bytes) -> ProbePath | None:
    """The route in an RTM_*ROUTE message, if it is a path of ours."""
    family, length, _, _, _, protocol, _, kind, _ = routing.RTMSG.unpack_from(payload)
    said = netlink.attributes(payload, routing.RTMSG.size)
    table, version = _number(said.get(RTA_TABLE)), VERSION.get(family)
    ours = protocol == PROTOCOL and FIRST_TABLE <= table < FIRST_TABLE + MOST_FORWARDERS
    if not ours or version is None or length:
        return None
    if kind == Kind.UNREACHABLE:
        return ProbePath(version, table, Kind.UNREACHABLE)
    gateway = said.get(routing.RTA_GATEWAY, b"")
    link = _number(said.get(routing.RTA_OIF))
    return ProbePath(version, table, Kind.UNICAST, int.from_bytes(gateway, "big"), link)


def _number(value: bytes | None) -> int:
    return U32.unpack(value)[0] if value else 0


# --- writing -----------------------------------------------------------------------------


def _address_request(address: Prefix, *, add: bool) -> Request:
    value = address.value.to_bytes(WIDTH[address.version] // 8, "big")
    header = routing.IFADDRMSG.pack(FAMILY[address.version], address.length, 0, SCOPE_HOST, LOOPBACK)
    body = (
        header + netlink.attribute(routing.IFA_LOCAL, value) + netlink.attribute(routing.IFA_ADDRESS, value)
    )
    if not add:
        return Request(netlink.RTM_DELADDR, 0, body)
    body += netlink.attribute(IFA_RT_PRIORITY, U32.pack(ADDRESS_METRIC))
    body += netlink.attribute(IFA_FLAGS, U32.pack(PERMANENT_NO_DAD))
    body += netlink.attribute(IFA_CACHEINFO, NEVER_PREFERRED)
    return Request(netlink.RTM_NEWADDR, netlink.F_CREATE | netlink.F_EXCLUSIVE, body)


def _rule_request(rule: Rule, *, add: bool) -> Request:
    body = RULE.pack(FAMILY[rule.version], 0, 0, 0, 0, 0, 0, TO_TABLE, 0)
    for kind, number in (
        (FRA_PRIORITY, RULE_PRIORITY),
        (FRA_MARK, rule.mark),
        (FRA_MASK, EXACTLY),
        (FRA_TABLE, rule.table),
    ):
        body += netlink.attribute(kind, U32.pack(number))
    body += netlink.attribute(FRA_PROTOCOL, bytes([PROTOCOL]))
    if add:
        return Request(netlink.RTM_NEWRULE, netlink.F_CREATE | netlink.F_EXCLUSIVE, body)
    return Request(netlink.RTM_DELRULE, 0, body)


def _path_request(path: ProbePath, *, add: bool) -> Request:
    onlink = routing.ONLINK_FLAG if path.gateway is not None else 0
    scope = routing.SCOPE_UNIVERSE if add else routing.SCOPE_NOWHERE
    metric = PATH_METRIC if path.kind is Kind.UNICAST else UNREACHABLE_METRIC
    body = routing.RTMSG.pack(FAMILY[path.version], 0, 0, 0, 0, PROTOCOL, scope, path.kind, onlink)
    body += netlink.attribute(RTA_TABLE, U32.pack(path.table))
    body += netlink.attribute(routing.RTA_PRIORITY, U32.pack(metric))
    if path.gateway is not None and path.link is not None:
        value = path.gateway.to_bytes(WIDTH[path.version] // 8, "big")
        body += netlink.attribute(routing.RTA_GATEWAY, value)
        body += netlink.attribute(routing.RTA_OIF, U32.pack(path.link))
    if add:
        return Request(netlink.RTM_NEWROUTE, netlink.F_CREATE | netlink.F_EXCLUSIVE, body)
    return Request(netlink.RTM_DELROUTE, 0, body)


def changes(*, wanted: Plumbing, present: Plumbing) -> list[Request]:
    """The requests that lead from *present* to *wanted*. Pure.

    A rule is removed before its path, and added after it: a probe meets a table with a path, or no table
    of ours at all. An old path is removed before the new one is added, which has the same key.
    """
    return [
        *(_rule_request(one, add=False) for one in sorted(present.rules - wanted.rules)),
        *(_path_request(one, add=False) for one in _sorted(present.paths - wanted.paths)),
        *(_address_request(one, add=False) for one in sorted(present.addresses - wanted.addresses)),
        *(_address_request(one, add=True) for one in sorted(wanted.addresses - present.addresses)),
        *(_path_request(one, add=True) for one in _sorted(wanted.paths - present.paths)),
        *(_rule_request(one, add=True) for one in sorted(wanted.rules - present.rules)),
    ]


def _sorted(paths: Collection[ProbePath]) -> list[ProbePath]:
    return sorted(
        paths, key=lambda path: (path.version, path.table, path.kind, path.gateway or 0, path.link or 0)
    )


@dataclass
class ProbePaths:
    """Keeps one kernel's plumbing for probing as it should be."""

    repairs: int = 0
    """Times that somebody else had changed it."""
    wanted: Plumbing = field(default_factory=Plumbing)

    def ensure(self, kernel: Netlink, targets: ProbeTargets, link: int) -> list[str]:
        """Make the kernel hold what *targets* need; a sentence for each change that it refused."""
        before, self.wanted = self.wanted, desired(targets, link)
        try:
            present = observed(kernel)
            requests = changes(wanted=self.wanted, present=present)
            self.repairs += bool(requests) and before == self.wanted
            refused = {str(answer) for answer in kernel.ask(requests) if answer is not None}
        except OSError as error:
            refused = {str(error)}
        return [f"probing: the kernel refuses: {reason}" for reason in sorted(refused)]

    def concerns(self, event: netlink.Message) -> bool:
        """Whether *event* says that something of ours was removed."""
        if event.kind == netlink.RTM_DELRULE:
            return decode_rule(event.payload) in self.wanted.rules
        if event.kind == netlink.RTM_DELROUTE:
            return decode_path(event.payload) in self.wanted.paths
        if event.kind == netlink.RTM_DELADDR:
            told = routing.decode_address(event.payload)
            return told is not None and Prefix.of_address(told[0]) in self.wanted.addresses
        return False


def remove() -> None:
    """Remove from the kernel all that probing put there. Raises OSError."""
    with Netlink() as kernel:
        refused = kernel.ask(changes(wanted=Plumbing(), present=observed(kernel)))
    if error := next(filter(None, refused), None):
        raise error
