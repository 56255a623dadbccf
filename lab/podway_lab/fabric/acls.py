"""Network ACLs: numbered rules without a memory, at the border between a subnet and the VPC's router.

The fabric sets them. What stays inside a subnet passes none, as on AWS. A subnet for which nothing was set
has no rule in its way: that is the ACL that AWS makes, which lets everything in and out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from podway_lab.fabric.namespace import Namespace
from podway_lab.fabric.rules import PASSED_BY, AclRule, Way

ACLS_TABLE = "netdev acls"
_REFUSED = "refused"


@dataclass(slots=True)
class Acls:
    """The ACL of each subnet that has one, by its bridge."""

    home: Namespace
    _rules: dict[str, tuple[AclRule, ...]] = field(default_factory=dict)

    def rules_of(self, bridge: str) -> tuple[AclRule, ...]:
        return self._rules.get(bridge, ())

    def set(self, bridge: str, rules: Iterable[AclRule] | None) -> None:
        """Give the subnet these rules, after which comes "deny all"; None: it lets everything through.

        Raises ValueError where two rules of one way have one number.
        """
        if rules is None:
            self._rules.pop(bridge, None)
            self.home.nft(f"add table {ACLS_TABLE}\n" + "".join(_removal(bridge)))
            return
        rules = tuple(rules)
        numbers = [(rule.way, rule.number) for rule in rules]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two rules of one way have one number")
        self._rules[bridge] = rules
        self.home.nft(f"add table {ACLS_TABLE}\n" + "".join(_written(bridge, rules)))

    def refused(self, bridge: str) -> int:
        """How many packets the subnet's ACL has dropped since it was set."""
        text = self.home.tool("nft", "-j", "list", "table", *ACLS_TABLE.split())
        counters = [one["counter"] for one in json.loads(text)["nftables"] if "counter" in one]
        return sum(one["packets"] for one in counters if one["name"] == f"{_REFUSED}_{bridge}")


def _written(bridge: str, rules: tuple[AclRule, ...]) -> Iterator[str]:
    counter = f"{_REFUSED}_{bridge}"
    refuse = f"counter name {counter} drop"
    yield f"add counter {ACLS_TABLE} {counter}\n"
    for way in Way:
        chain = _chain(bridge, way)
        yield f"add chain {chain} {{ type filter hook {way.hook} device {bridge} priority 0; }}\n"
        yield f"flush chain {chain}\n" + "".join(f"add rule {chain} {one}\n" for one in PASSED_BY)
        for rule in sorted((one for one in rules if one.way is way), key=lambda one: one.number):
            fits = f"ip {way.peer} {rule.peer} {rule.selection.expression()}"
            yield f"add rule {chain} {fits} {'accept' if rule.allowed else refuse}\n"
        yield f"add rule {chain} {refuse}\n"


def _removal(bridge: str) -> Iterator[str]:
    for way in Way:
        chain = _chain(bridge, way)
        yield f"add chain {chain}\nflush chain {chain}\ndelete chain {chain}\n"
    yield f"add counter {ACLS_TABLE} {_REFUSED}_{bridge}\ndelete counter {ACLS_TABLE} {_REFUSED}_{bridge}\n"


def _chain(bridge: str, way: Way) -> str:
    return f"{ACLS_TABLE} {way.value}_{bridge}"
