"""Which destinations a table gets."""

from __future__ import annotations

from collections.abc import Mapping

from podway.domain.addressing import Prefix
from podway.domain.routing import Block, TableFacts


def choose_prefixes(view: TableFacts) -> Mapping[Prefix, str]:
    """Destination and subnet: direct routes and anchors while they fit, else one route per supernet."""
    facts = view.facts
    own = view.own_subnet
    anchors = {
        prefix: subnet
        for prefix, subnet in facts.supernets
        if prefix not in view.foreign and facts.forwarders.get(subnet)
    }
    counted = [block for block in facts.blocks if facts.nodes[block.node].subnet != own]
    every = {
        block.prefix: facts.nodes[block.node].subnet for block in counted if block.prefix not in view.foreign
    } | anchors
    if len(every) <= view.budget:
        return every
    needed = {prefix: subnet for prefix, subnet in anchors.items() if subnet != own}
    loose = {
        block.prefix: facts.nodes[block.node].subnet
        for block in counted
        if not _around(block, needed) and block.prefix not in view.foreign
    }
    ranked = [*sorted(needed), *sorted(loose), *sorted(anchors.keys() - needed.keys())]
    subnets = {**anchors, **loose}
    return {prefix: subnets[prefix] for prefix in ranked[: view.budget]}


def _around(block: Block, anchors: Mapping[Prefix, str]) -> bool:
    return any(block.prefix.at(length) in anchors for length in range(block.prefix.length + 1))
