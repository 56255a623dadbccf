"""What reconcile hands out to the agents before it writes routes: the map of every subnet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from podway.app.ports import Clock, Memory, Store
from podway.domain.failover.decide import Card
from podway.domain.inventory import Member, Survey
from podway.domain.members.maps import SubnetMap, make_maps
from podway.domain.model import Cluster, Plan


def publish_maps(
    store: Store,
    clock: Clock,
    survey: Survey,
    memory: Memory,
    before: Mapping[str, SubnetMap],
    cluster: Cluster,
    planned: Plan,
    members: Iterable[Member],
    cards: Iterable[Card],
) -> dict[str, SubnetMap]:
    """Publish the map of every subnet where it has changed. Returns all maps as they are now."""
    maps, epoch = dict(before), memory.epoch.number if memory.epoch else 1
    cidrs = {subnet.id: subnet.cidrs for subnet in survey.subnets}
    watches = {card.node: card.watchers for card in cards}
    for made in make_maps(cluster, planned, members, cidrs, watches):
        wanted = replace(made, epoch=epoch)
        present = before.get(wanted.subnet)
        generation = present.generation if present else 0
        if present == replace(wanted, generation=generation):
            continue
        maps[wanted.subnet] = replace(wanted, generation=generation + 1)
        store.publish_map(maps[wanted.subnet], now=clock.now())
    return maps
