"""Whether nobody but a node can speak as the node. ``podway check`` asks.

An agent's key in the store is ``aws:userid``: the role's id, and a session name that EC2 sets to the
instance's id. Others who may assume the role choose the session name; others who reach IMDS have the session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EC2 = frozenset({"ec2.amazonaws.com", "ec2.amazonaws.com.cn"})


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What a node's agent speaks with; *trust* is its role's trust policy, None when it cannot be read."""

    instance: str
    role: str = ""
    trust: Mapping[str, Any] | None = None
    tokens_required: bool | None = None
    """Whether IMDS wants a session token; None when EC2 does not say."""
    hops: int | None = None
    """How many hops IMDS's answers may make."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something by which another may speak as a node."""

    subject: str
    what: str


def doubts(nodes: Iterable[NodeIdentity]) -> tuple[Doubt, ...]:
    """All doubts about these nodes, each role's once."""
    found: set[tuple[str, str]] = set()
    for node in nodes:
        if not node.role:
            found.add((node.instance, "it has no role, and its agent reads nothing"))
        elif node.trust is None:
            found.add((node.role, "its trust policy cannot be read"))
        else:
            found.update((node.role, what) for what in _others(node.trust))
        if node.tokens_required is False:
            found.add((node.instance, "IMDS answers without a session token (HttpTokens is not required)"))
        if node.hops is not None and node.hops > 1:
            found.add((node.instance, f"IMDS's answers make {node.hops} hops, and may reach pods"))
    return tuple(Doubt(subject, what) for subject, what in sorted(found))


def _others(trust: Mapping[str, Any]) -> Iterator[str]:
    """Those who may assume the role and are not EC2."""
    for statement in _listed(trust.get("Statement", ())):
        if statement.get("Effect") != "Allow":
            continue
        if "NotPrincipal" in statement:
            yield "everybody but a few may assume it (NotPrincipal)"
        principal = statement.get("Principal", {})
        kinds = principal if isinstance(principal, Mapping) else {"AWS": principal}
        for kind, names in sorted(kinds.items()):
            for name in _listed(names):
                if kind != "Service" or name not in EC2:
                    yield f"{name} may assume it"


def _listed(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
