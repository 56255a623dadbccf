"""How an interface's groups are written as chains: flows that are tracked, flows that are not, and rules.

`groups` asks; a pure function of values. The kernel's own tracking sees a packet once in a namespace, and
here each interface must see it anew. So each port has sets of its own, whose members the kernel forgets when
they have been idle: one of flows whose packets it has seen leave, one of those that it has seen enter.

Facts are from the EC2 User Guide, "Security group connection tracking". Not modelled: the allowance,
connections that AWS tracks whatever the rules say (through gateways and load balancers), and a connection's
end, after which a flow stays until it has been idle for too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from podway_lab.fabric.rules import ANYWHERE, PASSED_BY, WITH_PORTS, GroupRule, GroupRules, Selection, Way

GROUPS_TABLE = "netdev groups"
MOST_FLOWS = 65535
OTHERS_SECONDS = 600.0
"""Flows of protocols without ports, by their addresses alone. So long for all but ICMP; AWS does not say."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """How an interface tracks flows: seconds until an idle one is forgotten.

    AWS's defaults; ``TcpEstablishedTimeout`` may be 60 to 432,000 (350 by default on Nitro v6). The lab
    takes any, as tests are in a hurry.

    *joins*: whether a packet from the middle of a TCP connection begins a flow if the rules let it through.
    AWS does not say. If it does not, a forgotten connection is cut, and so is one that is led to another
    forwarder; a flow that is not tracked goes on either way.
    """

    tcp: float = 432_000
    udp: float = 30
    udp_stream: float = 180
    joins: bool = True


@dataclass(frozen=True, slots=True)
class Plug:
    """An interface that is plugged in: its device in the router's namespace, and its address."""

    device: str
    address: str

    def flows(self, way: Way, kind: str) -> str:
        """The set of flows seen going that *way*; *kind* is ``ports``, or ``bare`` for those without."""
        return f"{kind}_{way.value}_{self.device}"

    def chain(self, way: Way) -> str:
        return f"{way.value}_{self.device}"

    @property
    def refused(self) -> str:
        """The counter of the packets that no rule lets through."""
        return f"refused_{self.device}"


NameOf = Callable[[str], str]
"""The set of the addresses of a group's members."""


def chains(plug: Plug, rules: GroupRules, tracking: Tracking, members: NameOf) -> str:
    """Lines that make *plug*'s chains say this, whatever they said before; flows stay tracked."""
    lines = list(_made(plug))
    for way in Way:
        chain = f"{GROUPS_TABLE} {plug.chain(way)}"
        lines.append(f"add chain {chain} {{ type filter hook {way.hook} device {plug.device} priority 10; }}")
        lines.append(f"flush chain {chain}")
        lines += [f"add rule {chain} {one}" for one in _said(plug, way, rules, tracking, members)]
    return "\n".join(lines) + "\n"


def removal(plug: Plug) -> str:
    """Lines that remove all that is *plug*'s, be it there or not."""
    lines = list(_made(plug))
    for way in Way:
        chain = f"{GROUPS_TABLE} {plug.chain(way)}"
        lines += [f"add chain {chain}", f"flush chain {chain}", f"delete chain {chain}"]
    lines += [f"delete set {GROUPS_TABLE} {name}" for name in sets(plug)]
    return "\n".join([*lines, f"delete counter {GROUPS_TABLE} {plug.refused}"]) + "\n"


def sets(plug: Plug) -> dict[str, str]:
    """The sets of *plug*'s flows, and what each member consists of: ours, theirs, protocol, ports."""
    kinds = {"ports": " . th sport . th dport", "bare": ""}
    return {
        plug.flows(way, kind): f"ip saddr . ip daddr . meta l4proto{ports}"
        for way in Way
        for kind, ports in kinds.items()
    }


def _made(plug: Plug) -> Iterator[str]:
    for name, key in sets(plug).items():
        yield f"add set {GROUPS_TABLE} {name} {{ typeof {key}; flags dynamic,timeout; size {MOST_FLOWS}; }}"
    yield f"add counter {GROUPS_TABLE} {plug.refused}"


def _said(plug: Plug, way: Way, rules: GroupRules, tracking: Tracking, members: NameOf) -> Iterator[str]:
    """The chain's rules: untracked flows first, then known ones, then what begins one, then no more."""
    yield from PASSED_BY
    yield from (f"{one} accept" for one in _untracked(way, rules))
    yield from _known(plug, way, tracking)
    refuse = f"counter name {plug.refused} drop"
    if not tracking.joins:
        yield f"meta l4proto tcp tcp flags & syn == 0 {refuse}"
    for rule in rules:
        if rule.way is way:
            yield from _begins(plug, rule, tracking, members)
    yield refuse


def _untracked(way: Way, rules: GroupRules) -> Iterator[str]:
    """Packets of TCP and UDP flows that anybody may begin and that may be answered on all ports.

    As both rules let everybody through, the packet's own ports tell.
    """
    local, remote = ("th dport", "th sport") if way is Way.IN else ("th sport", "th dport")
    for protocol in WITH_PORTS:
        wide = {one: list(_open(one, protocol, rules)) for one in Way}
        for begun, answered, port in ((Way.IN, Way.OUT, local), (Way.OUT, Way.IN, remote)):
            if any(one.has_all_ports for one in wide[answered]):
                yield from (f"meta l4proto {protocol} {port} {one.ports}" for one in wide[begun])


def _open(way: Way, protocol: str, rules: Iterable[GroupRule]) -> Iterator[Selection]:
    """Ports of *protocol* that are open to everybody."""
    for rule in rules:
        if rule.way is way and rule.peer == ANYWHERE and rule.selection.protocol in ("", protocol):
            yield rule.selection


def _known(plug: Plug, way: Way, tracking: Tracking) -> Iterator[str]:
    """A packet of a flow that is tracked passes, whatever the rules say now, and the flow is idle no more."""
    back = Way.OUT if way is Way.IN else Way.IN
    for kind in _kinds(tracking):
        mine, other, key = plug.flows(way, kind.sets), plug.flows(back, kind.sets), _key(way, kind.sets)
        yield (
            f"{kind.fits} {key} @{other} update @{other} {{ {key} timeout {_time(kind.answered)} }}"
            f" update @{mine} {{ {key} timeout {_time(kind.answered)} }} accept"
        )
        yield f"{kind.fits} {key} @{mine} update @{mine} {{ {key} timeout {_time(kind.unanswered)} }} accept"


def _begins(plug: Plug, rule: GroupRule, tracking: Tracking, members: NameOf) -> Iterator[str]:
    """A packet that *rule* lets through begins a flow."""
    peer = f"@{members(rule.peer)}" if isinstance(rule.peer, str) else str(rule.peer)
    fits = f"ip {rule.way.peer} {peer} {rule.selection.expression()}"
    for kind in _kinds(tracking):
        if rule.selection.protocol in ("", *kind.protocols):
            flow = f"{{ {_key(rule.way, kind.sets)} timeout {_time(kind.unanswered)} }}"
            yield f"{kind.fits} {fits} update @{plug.flows(rule.way, kind.sets)} {flow} accept"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Flows that are tracked alike: which packets, in which sets, seconds while seen one way or both."""

    fits: str
    protocols: tuple[str, ...]
    sets: str
    unanswered: float
    answered: float


def _kinds(tracking: Tracking) -> tuple[_Kind, ...]:
    return (
        _Kind("meta l4proto tcp", ("tcp",), "ports", tracking.tcp, tracking.tcp),
        _Kind("meta l4proto udp", ("udp",), "ports", tracking.udp, tracking.udp_stream),
        _Kind("meta l4proto != { tcp, udp }", ("icmp",), "bare", OTHERS_SECONDS, OTHERS_SECONDS),
    )


def _key(way: Way, kind: str) -> str:
    """The packet's flow, the instance's side first, so that both ways have the same."""
    ours, theirs = ("d", "s") if way is Way.IN else ("s", "d")
    ports = f" . th {ours}port . th {theirs}port" if kind == "ports" else ""
    return f"ip {ours}addr . ip {theirs}addr . meta l4proto{ports}"


def _time(seconds: float) -> str:
    whole, rest = divmod(round(seconds * 1000), 1000)
    return f"{whole}s{rest}ms"
