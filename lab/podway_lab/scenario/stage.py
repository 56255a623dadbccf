"""What sentences act upon: the lab, the report, and what has happened in this scenario so far.

The command makes one for each scenario; the player hands it to every verb.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from podway.domain.addressing import Prefix
from podway.domain.model import counted

from podway_lab.fabric.probes import Trace, ping, trace
from podway_lab.lab import FUNCTIONS, Lab
from podway_lab.region.changes import Change, RouteWritten
from podway_lab.region.state import Route
from podway_lab.scenario.background import Background
from podway_lab.scenario.report import Handled, Loss, Report
from podway_lab.stack.functions import Invocation

_AFTERMATH_SECONDS = 1.0
"""How long after a failover lost packets are still counted as its own."""
_FAILOVER_SECONDS = 120
"""How long a failover may take before a scenario gives up on it."""


class NotSo(Exception):
    """What a sentence expects is not so; the message says what is instead."""


class NeedsPackets(Exception):
    """The sentence is about packets, and this lab has none."""


@dataclass
class Noted:
    """What was so when something happened to a node; later sentences compare with it."""

    node: str = ""
    routes: tuple[tuple[str, str], ...] = ()
    """Table and destination of the routes that led through the node and carried blocks of others."""
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often the functions have given a route another next hop since."""
    relayed_at_completion: dict[str, int] = field(default_factory=dict)
    """Blocks of others that a node still relayed when its group was told to go on."""
    listens: bool = False

    def hear(self, change: Change) -> None:
        """Count moves."""
        match change:
            case RouteWritten(before=Route() as before, after=Route() as after, caller=caller):
                if caller.startswith(FUNCTIONS) and before.target != after.target:
                    self.moved[change.table, str(change.destination)] += 1


class Stage:
    """One lab, and the memory of one scenario in it."""

    def __init__(self, lab: Lab, report: Report) -> None:
        self.lab, self.report = lab, report
        self.background = Background()
        self.handled: list[Handled] = []
        """The failovers that were measured, in order."""
        self.losses: list[Loss] = []
        """What flows lost that have been stopped."""
        self.noted = Noted()
        self.it = ""
        """The node that was named last."""
        self.store_away = -1
        """Mark in the call log from when the agents were last cut off from the store."""
        self.held: dict[Prefix, str] = {}
        """Who held which block when that was noted."""
        self.backup = ""
        """ARN of the store's last backup."""
        self.restored = ""
        """Name of the table that it was restored into."""
        self.added = itertools.count()
        """Numbers of the routes that somebody adds."""

    # Looking

    def need_packets(self) -> None:
        """Wait until packets go as the route tables say. Raises NeedsPackets where there are none."""
        if self.lab.fabric is None:
            raise NeedsPackets
        self.lab.mirror.settle_network()

    def reach(self, source: str, target: str) -> tuple[Trace, float]:
        """The path between two pods, and the round-trip time in ms. Raises NotSo."""
        self.need_packets()
        origin, goal = self.lab.pod(source), self.lab.pod(target)
        answered = ping(origin, goal.address, timeout=0.5)
        if not answered.received:
            refused = f"{answered.refused_by} refuses" if answered.refused_by else "no answer"
            raise NotSo(f"pod {source} → pod {target} ({goal.address}): {refused}")
        return trace(origin, goal.address), answered.rtts[0]

    def relays(self, path: Trace) -> list[str]:
        """Names of the nodes that relayed."""
        fabric = self.lab.fabric
        assert fabric is not None, "only packets have paths"
        names = self.lab.names
        hosts = [(address, fabric.host_at(address) if address else None) for address in path.relays]
        return [names.get(host.instance_id, "?") if host else str(address) for address, host in hosts]

    def carried(self) -> Iterator[tuple[str, str | None]]:
        """For each block and each table of another subnet: the block's owner, and its next hop there."""
        blocks = self.lab.blocks()
        for subnet in self.lab.plan.subnets:
            routes = dict(self.lab.managed(subnet.name))
            for block, owner in blocks.items():
                if self.lab.subnet_of(owner) == subnet.name:
                    continue  # siblings use host routes
                matching = [one for one in routes if one.contains(block)]
                yield owner, routes[max(matching, key=lambda one: one.length)] if matching else None

    def relayed(self, node: str) -> int:
        """How many blocks of others the routes through *node* carry, summed over the tables."""
        return sum(hop == node and owner != node for owner, hop in self.carried())

    def by_load(self, subnet: str) -> list[tuple[int, str]]:
        """Blocks relayed and name of each node of *subnet*, busiest first."""
        return sorted(((self.relayed(node), node) for node in self.lab.nodes(subnet)), reverse=True)

    # Choosing

    def chosen(self, text: str) -> str:
        """The node that *text* names: itself, "the forwarder of b" (who relays most there), or "it" again."""
        if match := re.fullmatch(r"(?:the )?forwarder of (\S+)", text):
            self.it = self._forwarder_of(match[1])
            return self.it
        if text == "it":
            return self.it
        if text not in self.lab.ids:
            raise NotSo(f"there is no node {text}")
        self.it = text
        return text

    def _forwarder_of(self, subnet: str) -> str:
        load, busiest = next(iter(self.by_load(subnet)), (0, ""))
        if not load:
            raise NotSo(f"nobody forwards for {subnet}")
        return busiest

    # Noting and measuring

    def note(self, node: str) -> None:
        """Remember which routes lead through *node* now, and count from now on how often they move."""
        lab = self.lab
        blocks = lab.blocks()
        found = []
        for subnet in lab.subnets:
            routes = dict(lab.managed(subnet))
            mine = [one for one, hop in routes.items() if hop == node and _carries(one, routes, blocks, node)]
            found += [(lab.ids[f"rtb-{subnet}"], str(one)) for one in mine]
        self.noted.node, self.noted.routes = node, tuple(found)
        self.noted.moved.clear()
        if not self.noted.listens:
            self.noted.listens = True
            lab.ec2.subscribe(self.noted.hear)

    def provoke(self, what: str, action: Callable[[], object], node: str) -> str:
        """Do something that must be followed by a failover of *node*, and measure it. Raises NotSo."""
        lost, started = self.background.lost(), self.lab.ec2.clock()
        before = len(self._failovers())
        self.note(node)
        if not self.relayed(node):
            action()
            return "it relayed nothing"
        action()

        def runs() -> list[Invocation]:
            return [one for one in self._failovers()[before:] if (one.result or {}).get("moved")]

        if not self.lab.wait(lambda: bool(runs()) or not self.relayed(node), timeout=_FAILOVER_SECONDS):
            raise NotSo(f"nobody moved the routes of {node} within {_FAILOVER_SECONDS} s")
        idle = partial(self.lab.delivery.is_idle, "FailoverFunction")
        # A run is on record when it has ended.
        self.lab.wait(lambda: bool(runs()) or idle(), timeout=_FAILOVER_SECONDS)
        time.sleep(_AFTERMATH_SECONDS)
        if not (ran := runs()):
            return "a reconcile that was on its way moved its routes first"
        measured = replace(self._measured(what, ran[0], started), carrying=len(self.noted.routes))
        if self.background.flows:
            measured = replace(measured, lost=self.background.lost() - lost)
        self.handled.append(measured)
        return f"{counted(measured.routes, 'route')} moved in {measured.milliseconds:.0f} ms"

    def _failovers(self) -> tuple[Invocation, ...]:
        return self.lab.delivery.invocations("FailoverFunction")

    def _measured(self, what: str, run: Invocation, started: datetime) -> Handled:
        event = next((at for at, sent in self.lab.pump.sent if sent["id"] == run.event_id), started)
        calls = self.lab.calls_of(run)
        replaced = [call for call in calls if call.action == "ec2:ReplaceRoute" and not call.error]
        last = max(replaced, key=lambda call: call.ended)
        return Handled(
            what,
            len(replaced),
            (last.at - event).total_seconds() * 1000,
            sum(call.began <= last.ended for call in calls),
            run.result["waves"],
        )


def _carries(route: Prefix, routes: dict[Prefix, str], blocks: dict[Prefix, str], node: str) -> bool:
    """Whether *route* is the longest match of a block that is not *node*'s own."""
    inner = [one for one in routes if route.contains(one) and one != route]
    return any(
        owner != node and route.contains(block) and not any(one.contains(block) for one in inner)
        for block, owner in blocks.items()
    )
