"""What the VPC may bring in for an address that nobody here knows: refused, so that it cannot loop.

The VPC router sends this subnet's space to its nodes. A packet that comes in for an address that the node
has no way to must not go out again. What the node and its own pods send to such an address may leave by
the VPC router, though: this subnet's own route table leads it to a forwarder, which polls fast, and so knows
a sibling that this node has not heard of yet (docs/agent.md, "Siblings that are new").

Per prefix two rules, for what comes in by the node's interface: look into the main table, but pass over
routes wider than the prefix (the default route is one); if that finds nothing, ``unreachable``. Rules name
the interface, and outlive it: a link flap, which drops every route that leads somewhere, takes none of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot

from podway_agent import netlink, rules
from podway_agent.netlink import Netlink
from podway_agent.routing import MAIN_TABLE
from podway_agent.rules import Rule

KNOWN, REFUSED = 113, 114
"""Priorities: behind probes' rules, before anything that others usually have."""


def guarded(snapshot: Snapshot) -> frozenset[Prefix]:
    """The prefixes of which unknown addresses need refusing only where they come in. Pure."""
    return frozenset(snapshot.led_here) & frozenset(snapshot.reachable_here)


def rules_for(prefix: Prefix, interface: str) -> tuple[Rule, Rule]:
    """What guards *prefix*: its known addresses first. Pure."""
    known = Rule(
        prefix.version, KNOWN, MAIN_TABLE, enters=interface, to=(prefix,), wide=max(0, prefix.length - 1)
    )
    return known, Rule(prefix.version, REFUSED, enters=interface, to=(prefix,))


def held(prefixes: Collection[Prefix], interface: str, present: Collection[Rule]) -> frozenset[Prefix]:
    """Those of *prefixes* that the rules at hand guard. Pure."""
    return frozenset(one for one in prefixes if set(present).issuperset(rules_for(one, interface)))


def present(kernel: Netlink) -> frozenset[Rule]:
    """The guarding rules that the kernel has. Raises KernelRefused."""
    return frozenset(rule for rule in rules.ours(kernel) if rule.priority in (KNOWN, REFUSED))


@dataclass
class Entrance:
    """The guard of one kernel's way in."""

    repairs: int = 0
    """Times that somebody else had taken a rule away."""
    wanted: frozenset[Rule] = frozenset()

    def guard(
        self, kernel: Netlink, prefixes: Collection[Prefix], interface: str
    ) -> tuple[frozenset[Prefix], list[str]]:
        """Add the rules that are missing: the prefixes that are guarded now, and a sentence per refusal.

        Rules that are wanted no more stay until `clear`: routes must take over from them first.
        """
        pairs = [rules_for(one, interface) for one in sorted(prefixes)]
        before, self.wanted = self.wanted, frozenset(rule for pair in pairs for rule in pair)
        refused: set[str] = set()
        added = 0
        try:
            standing = set(present(kernel))
            for rank in range(2):  # without the first, the second would refuse siblings and pods, too
                missing = [pair[rank] for pair in pairs if standing.issuperset(pair[:rank])]
                missing = [rule for rule in missing if rule not in standing]
                answers = kernel.ask([rules.adding(rule) for rule in missing])
                standing |= {rule for rule, answer in zip(missing, answers, strict=True) if not answer}
                refused |= {f"rules: the kernel refuses: {answer}" for answer in answers if answer}
                added += answers.count(None)
        except OSError as error:
            return frozenset(), [f"rules: {error}"]
        self.repairs += bool(added) and before == self.wanted
        return held(prefixes, interface, standing), sorted(refused)

    def clear(self, kernel: Netlink) -> list[str]:
        """Remove the rules that are wanted no more; a sentence per refusal."""
        try:
            answers = _remove(kernel, present(kernel) - self.wanted)
        except OSError as error:
            answers = [error]
        return sorted({f"rules: the kernel refuses: {answer}" for answer in answers if answer})

    def concerns(self, event: netlink.Message) -> bool:
        """Whether *event* tells that somebody took a rule of ours away."""
        return event.kind == netlink.RTM_DELRULE and rules.decode(event.payload) in self.wanted


def _remove(kernel: Netlink, gone: Collection[Rule]) -> list[OSError | None]:
    """Remove rules, the refusing ones first."""
    last_first = sorted(gone, key=lambda rule: rule.priority, reverse=True)
    return list(kernel.ask([rules.removing(rule) for rule in last_first]))


def remove() -> None:
    """Remove every guarding rule from the kernel. Raises OSError."""
    with Netlink() as kernel:
        answers = _remove(kernel, present(kernel))
    if error := next(filter(None, answers), None):
        raise error
