"""Security groups: enforced at each interface's port, outside of the guest, as AWS does.

The switch has one and tells it of ports; the fabric sets groups. An interface for which nothing was set has
no rule in its way. In effect that is the documented group (`rules.documented`): between nodes and pods that
lets everything through, and nobody else in the fabric sends what was not asked for. Tests play both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from podway_lab.fabric import tracking as written
from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.rules import GroupRule, GroupRules, Way
from podway_lab.fabric.tracking import GROUPS_TABLE, Plug, Tracking


@dataclass(frozen=True, slots=True, order=True)
class TrackedFlow:
    """A flow that an interface tracks; ports are 0 where the protocol has none. Half: seen one way only."""

    protocol: str
    local: str
    local_port: int
    remote: str
    remote_port: int
    half: bool


@dataclass(slots=True)
class Groups:
    """All groups, and who is in which. A change is one transaction: no packet sees half of it."""

    home: Namespace
    _rules: dict[str, GroupRules] = field(default_factory=dict)
    _joined: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _newcomers: tuple[str, ...] = ()
    _tracking: dict[str, Tracking] = field(default_factory=dict)
    _plugs: dict[str, Plug] = field(default_factory=dict)
    _built: set[Plug] = field(default_factory=set)

    def rules_of(self, group: str) -> GroupRules:
        """What *group* lets through; a group of which nobody has said anything lets nothing through."""
        return self._rules.get(group, ())

    def set_rules(self, group: str, rules: Iterable[GroupRule]) -> None:
        """Let *group* consist of *rules*. Flows that are tracked go on, as on AWS."""
        self._rules[group] = tuple(rules)
        self._program()

    def join(self, network_interfaces: Iterable[str], groups: Iterable[str]) -> None:
        """Let the interfaces be in *groups*, and in no other; of no groups at all no rule is enforced."""
        groups = tuple(groups)
        for one in network_interfaces:
            self._joined[one] = groups
        self._program()

    def await_newcomers(self, groups: Iterable[str]) -> None:
        """Let interfaces that nobody has put into a group be in these as soon as they are plugged in."""
        self._newcomers = tuple(groups)

    def track(self, network_interfaces: Iterable[str], tracking: Tracking) -> None:
        """Let the interfaces track flows so. A flow that is known gets its new time with its next packet."""
        for one in network_interfaces:
            self._tracking[one] = tracking
        self._program()

    def tracking_of(self, network_interface: str) -> Tracking:
        return self._tracking.get(network_interface, Tracking())

    def plugged(self, network_interface: str, device: str, address: str) -> None:
        """Guard a port from now on, if its interface is in a group."""
        self._plugs[network_interface] = Plug(device, address)
        self._joined.setdefault(network_interface, self._newcomers)
        if self._joined.get(network_interface):
            self._program()

    def unplugged(self, network_interface: str) -> None:
        """Forget a port that is gone, and the flows that it tracked."""
        self._plugs.pop(network_interface, None)
        if self._joined.get(network_interface):
            self._program()

    def flows(self, network_interface: str) -> frozenset[TrackedFlow]:
        """The flows that the interface tracks now."""
        plug = self._plugs[network_interface]
        if plug not in self._built:
            return frozenset()
        seen = {
            way: {entry for kind in ("ports", "bare") for entry in self._members(plug.flows(way, kind))}
            for way in Way
        }
        both = seen[Way.IN] & seen[Way.OUT]
        return frozenset(
            TrackedFlow(protocol, local, port, remote, remote_port, half=entry not in both)
            for entry in seen[Way.IN] | seen[Way.OUT]
            for local, remote, protocol, port, remote_port in [entry]
        )

    def refused(self, network_interface: str) -> int:
        """How many packets were let through by none of the interface's groups since it joined the first."""
        plug = self._plugs[network_interface]
        if plug not in self._built:
            return 0
        return int(self._listed("counter", plug.refused)["packets"])

    def _members(self, name: str) -> set[tuple[str, str, str, int, int]]:
        entries = self._listed("set", name).get("elem", [])
        values = [one["elem"]["val"]["concat"] for one in entries]
        return {(one[0], one[1], str(one[2]), *map(int, one[3:] or (0, 0))) for one in values}

    def _listed(self, kind: str, name: str) -> Mapping[str, Any]:
        text = self.home.tool("nft", "-j", "list", kind, *GROUPS_TABLE.split(), name)
        found: Mapping[str, Any] = next(one[kind] for one in json.loads(text)["nftables"] if kind in one)
        return found

    def _program(self) -> None:
        """Write everything anew: it is little, and what a rule means depends on who is in which group."""
        guarded = {one: plug for one, plug in self._plugs.items() if self._joined.get(one)}
        gone = self._built - set(guarded.values())
        if not guarded and not gone:
            return
        numbers = self._numbered()
        script = f"add table {GROUPS_TABLE}\n" + "".join(self._membership(numbers))
        for interface, plug in guarded.items():
            rules = tuple(rule for group in self._joined[interface] for rule in self.rules_of(group))
            script += written.chains(plug, rules, self.tracking_of(interface), lambda name: numbers[name])
        script += "".join(map(written.removal, gone))
        self.home.nft(script)
        self._built = set(guarded.values())

    def _numbered(self) -> dict[str, str]:
        """The set of each group that rules name or that somebody is in."""
        named = {rule.peer for rules in self._rules.values() for rule in rules if isinstance(rule.peer, str)}
        return {group: f"members_{number}" for number, group in enumerate(sorted(named))}

    def _membership(self, numbers: Mapping[str, str]) -> Iterable[str]:
        """A group's members, by the addresses of their interfaces, and by no other address."""
        for group, name in numbers.items():
            inside = [plug.address for one, plug in self._plugs.items() if group in self._joined.get(one, ())]
            yield f"add set {GROUPS_TABLE} {name} {{ type ipv4_addr; }}\nflush set {GROUPS_TABLE} {name}\n"
            if inside:
                yield f"add element {GROUPS_TABLE} {name} {{ {', '.join(inside)} }}\n"
