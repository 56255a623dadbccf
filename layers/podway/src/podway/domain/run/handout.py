"""The maps that a run publishes: those that say something new to the agents.

`decide` asks before routes are written, reconcile once more when blocks have become ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from podway.domain.failover.decide import Card
from podway.domain.inventory import Member
from podway.domain.members.maps import SubnetMap, make_maps
from podway.domain.model import Cluster, Plan
from podway.domain.run.seen import Seen


def new_maps(
    seen: Seen,
    before: Mapping[str, SubnetMap],
    cluster: Cluster,
    planned: Plan,
    *,
    members: Iterable[Member],
    cards: Iterable[Card],
) -> dict[str, SubnetMap]:
    """The map of every subnet for which it is another than *before*, with its next generation."""
    found = {}
    cidrs = {subnet.id: subnet.cidrs for subnet in seen.survey.subnets}
    watches = {card.node: card.watchers for card in cards}
    for made in make_maps(cluster, planned, members, cidrs, watches):
        wanted = replace(made, epoch=seen.memory.epoch_number)
        present = before.get(wanted.subnet)
        generation = present.generation if present else 0
        if present != replace(wanted, generation=generation):
            found[wanted.subnet] = replace(wanted, generation=generation + 1)
    return found
