"""From a Node as it is to the patches that it lacks. Pure. `node_status` asks.

Nothing that Podway does needs this. ``spec.podCIDRs`` is for other programs that read it. It holds the
first block of each family only, since it can be set once and takes one CIDR per family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podway.domain.addressing import Prefix

ANNOTATION = "podway/blocks"
"""Holds all blocks of the node, for people and programs that want to know."""
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
"""A patch of this kind merges a list of conditions by type; the other kind replaces the list."""
_UNAVAILABLE = "NetworkUnavailable"


@dataclass(frozen=True)
class Patch:
    """One change of the Node; *part* is empty or ``/status``."""

    part: str
    kind: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """What to change, and what an operator should know."""

    patches: tuple[Patch, ...] = ()
    doubts: tuple[str, ...] = ()


def advise(node: Mapping[str, Any], instance: str, blocks: Sequence[Prefix], *, now: datetime) -> Advice:
    """What *node*, as the API server has it, lacks of a node that is ready for pods in *blocks*.

    Never changes a Node that is another instance's, nor podCIDRs that somebody else set.
    """
    spec = node.get("spec") or {}
    provider = str(spec.get("providerID") or "")
    if provider and provider.rpartition("/")[2] != instance:
        name = (node.get("metadata") or {}).get("name")
        return Advice(doubts=(f"Node {name} is {provider}, not {instance}: set kubernetes_node",))
    if not blocks:
        return Advice()
    doubts: list[str] = []
    about = _about(node, spec, blocks, doubts)
    return Advice(tuple(filter(None, (about, _available(node, now)))), tuple(doubts))


def _about(
    node: Mapping[str, Any], spec: Mapping[str, Any], blocks: Sequence[Prefix], doubts: list[str]
) -> Patch | None:
    """The annotation and the podCIDRs, with the version that they were decided on."""
    metadata = node.get("metadata") or {}
    changes: dict[str, Any] = {}
    held = ",".join(map(str, sorted(blocks)))
    noted: dict[str, Any] = {}
    if (metadata.get("annotations") or {}).get(ANNOTATION) != held:
        noted["annotations"] = {ANNOTATION: held}
    present = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if not present:
        first = [str(block) for block in firsts(blocks)]
        changes["spec"] = {"podCIDR": first[0], "podCIDRs": first}
    elif others := [cidr for cidr in present if not _is_among(str(cidr), blocks)]:
        doubts.append(
            f"spec.podCIDRs names {', '.join(map(str, others))}, which somebody else allocated:"
            " run kube-controller-manager with --allocate-node-cidrs=false"
        )
    if not noted and not changes:
        return None
    if version := metadata.get("resourceVersion"):
        noted["resourceVersion"] = version  # a conflict is better than overwriting what we have not seen
    return Patch("", MERGE, {"metadata": noted, **changes})


def firsts(blocks: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The first block of each family, IPv4 first."""
    families: dict[int, Prefix] = {}
    for block in sorted(blocks):
        families.setdefault(block.version, block)
    return tuple(families[version] for version in sorted(families))


def _is_among(cidr: str, blocks: Iterable[Prefix]) -> bool:
    try:
        return Prefix.parse(cidr) in blocks
    except ValueError:
        return False


def _available(node: Mapping[str, Any], now: datetime) -> Patch | None:
    """Clears NetworkUnavailable if a cloud controller set it; None if there is no such condition."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    present = next((one for one in conditions if one.get("type") == _UNAVAILABLE), None)
    if present is None or present.get("status") == "False":
        return None
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    cleared = {
        "type": _UNAVAILABLE,
        "status": "False",
        "reason": "PodwayReady",
        "message": "the node's blocks are covered by routes",
        "lastHeartbeatTime": time,
        "lastTransitionTime": time,
    }
    return Patch("/status", STRATEGIC, {"status": {"conditions": [cleared]}})
