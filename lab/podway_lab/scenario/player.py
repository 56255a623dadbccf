"""Plays scenarios: every sentence is looked up, carried out in a lab, and reported.

Here are the sentences about routes and ways; `background` has those about traffic, `troubles` those
about what befalls hosts and agents.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import product

from podway.domain.addressing import Prefix

from podway_lab.fabric.probes import Trace, ping, trace
from podway_lab.fabric.sweep import matrix, sweep
from podway_lab.lab import Lab
from podway_lab.scenario import background, faults, operations  # noqa: F401  (their sentences are known once they are loaded)
from podway_lab.scenario.background import Background
from podway_lab.scenario.language import BadScenario, Scenario, Sentence
from podway_lab.scenario.operations import Noted, note
from podway_lab.scenario.report import Handled, Loss, Report
from podway_lab.scenario.verbs import NeedsPackets, NotSo, Verb, says, understood
from podway_lab.stack.functions import Invocation

STATUS_CHECK = "StatusCheckFailed"
AFTERMATH = 1.0
"""Seconds after a failover in which its lost packets are still counted as its own."""


class Player:
    """Carries out the sentences of one scenario in one lab."""

    def __init__(self, lab: Lab, report: Report) -> None:
        self.lab, self.report = lab, report
        self.handled: list[Handled] = []
        self.losses: list[Loss] = []
        self.failures = 0
        self.background = Background()
        self.store_away = -1
        """Mark in the call log from when the agents were last cut off from the store."""
        self.began = time.monotonic()
        self.it = ""
        """The node that was named last."""
        self.noted = Noted()

    def play(self, scenario: Scenario) -> bool:
        """Whether everything that was expected came true; stops at the first thing that did not."""
        for sentence in scenario.sentences:
            if not self._carry_out(sentence):
                self.failures += 1
                break
        self.losses += self.background.stop()
        breaches = self.lab.review()
        self.report.summary(
            handled=self.handled,
            losses=self.losses,
            writes=self.lab.referee.writes,
            breaches=breaches,
            seconds=time.monotonic() - self.began,
        )
        return not self.failures and not breaches

    def _carry_out(self, sentence: Sentence) -> bool:
        verb, match = _understood(sentence)
        end = time.monotonic() + sentence.within
        with self.report.waiting(sentence.text):
            while True:
                try:
                    detail = verb(self, match)
                except NeedsPackets:
                    self.report.left_out(sentence.text, "no network namespaces here, so no packets")
                    return True
                except (NotSo, LookupError) as unmet:
                    if time.monotonic() < end:
                        time.sleep(0.1)
                        continue
                    self.report.failed(f"line {sentence.line}: {sentence.text}", str(unmet))
                    return False
                break
        if not sentence.text.startswith(("say ", "show ")):
            self.report.held(sentence.text, detail)
        return True

    # Looking

    def reach(self, source: str, target: str) -> tuple[Trace, float]:
        """The way between two pods, and the round-trip time in ms. Raises NotSo."""
        self.need_packets()
        origin, goal = self.lab.pod(source), self.lab.pod(target)
        answered = ping(origin, goal.address, timeout=0.5)
        if not answered.received:
            refused = f"{answered.refused_by} refuses" if answered.refused_by else "no answer"
            raise NotSo(f"pod {source} → pod {target} ({goal.address}): {refused}")
        return trace(origin, goal.address), answered.rtts[0]

    def relays(self, way: Trace) -> list[str]:
        """Names of the nodes that relayed."""
        fabric = self.lab.fabric
        assert fabric is not None, "ways are of packets"
        names = self.lab.names
        hosts = [(address, fabric.host_at(address) if address else None) for address in way.relays]
        return [names.get(host.instance_id, "?") if host else str(address) for address, host in hosts]

    def need_packets(self) -> None:
        """Let packets go as the tables say now. Raises NeedsPackets where there are none."""
        if self.lab.fabric is None:
            raise NeedsPackets
        self.lab.mirror.settle_network()

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

    def carried(self) -> Iterator[tuple[str, str | None]]:
        """Per block and table of another subnet: the block's owner, and its next hop there."""
        blocks = {prefix: self.lab.names[one.id] for one in self.lab.members() for prefix in one.prefixes}
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

    def _forwarder_of(self, subnet: str) -> str:
        load, busiest = next(iter(self.by_load(subnet)), (0, ""))
        if not load:
            raise NotSo(f"nobody forwards for {subnet}")
        return busiest

    # Doing

    def provoke(self, what: str, deed: Callable[[], object], node: str) -> str:
        """Do something that must be followed by a failover of *node*, and measure it."""
        lost, started = self.background.lost(), self.lab.ec2.clock()
        before = len(self._failovers())
        note(self, node)
        if not self.relayed(node):
            deed()
            return "it relayed nothing"
        deed()

        def runs() -> list[Invocation]:
            return [one for one in self._failovers()[before:] if (one.result or {}).get("moved")]

        if not self.lab.wait(lambda: bool(runs()) or not self.relayed(node), timeout=30):
            raise NotSo(f"nobody moved the routes of {node} within 30 s")
        idle = partial(self.lab.delivery.is_idle, "FailoverFunction")
        self.lab.wait(lambda: bool(runs()) or idle(), timeout=30)  # a run is on record when it has ended
        time.sleep(AFTERMATH)
        if not (ran := runs()):
            return "a reconcile that was on its way moved its routes first"
        measured = replace(self._measured(what, ran[0], started), carrying=len(self.noted.routes))
        if self.background.flows:
            measured = replace(measured, lost=self.background.lost() - lost)
        self.handled.append(measured)
        return f"{measured.routes} routes moved in {measured.milliseconds:.0f} ms"

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


def _understood(sentence: Sentence) -> tuple[Verb, re.Match[str]]:
    if found := understood(sentence.text):
        return found
    raise BadScenario(f"line {sentence.line}: nobody knows how to {sentence.text!r}")


def check(scenario: Scenario) -> None:
    """Raises BadScenario, naming the line, when a sentence cannot be understood."""
    for sentence in scenario.sentences:
        _understood(sentence)


@says(r"say (?P<text>.+)")
def _say(player: Player, match: re.Match[str]) -> str:
    player.report.heading(match["text"])
    return ""


@says(r"start")
def _start(player: Player, _: re.Match[str]) -> str:
    player.lab.launch_all()
    return f"{len(player.lab.nodes())} instances in {len(player.lab.plan.subnets)} subnets"


@says(r"all nodes are ready")
def _all_ready(player: Player, _: re.Match[str]) -> str:
    waiting = [node for node in player.lab.nodes() if not player.lab.is_ready(node)]
    if waiting:
        raise NotSo(f"not ready: {', '.join(waiting)}")
    return ", ".join(player.lab.nodes())


@says(r"node (?P<node>\S+) is ready")
def _ready(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    if not player.lab.is_ready(node):
        raise NotSo(f"{node} is not ready")
    return node


@says(r"show routes")
def _show_routes(player: Player, _: re.Match[str]) -> str:
    lab = player.lab
    owners = lab.blocks()
    owners |= {prefix: f"subnet {name}" for name in lab.subnets for prefix in lab.supernets(name)}
    hops: dict[str, dict[Prefix, tuple[str, bool]]] = {}
    for subnet in lab.plan.subnets:
        direct = lab.direct(subnet.name)
        routes = {place: (hop, place in direct) for place, hop in lab.managed(subnet.name)}
        room = lab.plan.quota - lab.plan.reserve - lab.others_routes(subnet.name)
        hops[f"rtb-{subnet.name}\n{len(routes)} of {room}"] = routes
    player.report.routes(hops, owners)
    return ""


@says(r"show paths")
def _show_paths(player: Player, _: re.Match[str]) -> str:
    player.need_packets()
    rows = []
    for a, b in product(player.lab.subnets, repeat=2):
        source = player.lab.nodes(a)[0]
        target = next(node for _, node in reversed(player.by_load(b)) if node != source)  # no forwarder
        way, rtt = player.reach(source, target)
        relays = player.relays(way)
        if relays:
            text = f"through forwarder {', '.join(relays)}"
        else:
            text = "inside the subnet" if a == b else "direct"
        rows.append((f"pod {source}", f"pod {target}", text, f"{rtt:.2f} ms"))
    player.report.paths(rows)
    return ""


@says(r"pods reach pods")
def _all_reach(player: Player, _: re.Match[str]) -> str:
    player.need_packets()
    found = sweep({node: player.lab.pod(node) for node in player.lab.nodes()})
    if missing := [f"pod {source} → pod {target}" for (source, target), one in found.items() if one is None]:
        raise NotSo(f"no way: {', '.join(missing[:10])}{' …' if missing[10:] else ''}\n{matrix(found)}")
    relayed = sum(one.relays > 0 for one in found.values() if one)
    if any(one.relays > 1 for one in found.values() if one):
        raise NotSo(f"more than one relay\n{matrix(found)}")
    return f"{len(found) - relayed} pairs directly, {relayed} through a forwarder"


@says(r"pod (?P<source>\S+) reaches pod (?P<target>\S+)(?: (?:(?P<direct>directly)|through (?P<relay>.+)))?")
def _reaches(player: Player, match: re.Match[str]) -> str:
    way, rtt = player.reach(match["source"], match["target"])
    relays = player.relays(way)
    if match["direct"] and relays:
        raise NotSo(f"the way leads through {', '.join(relays)}")
    if match["relay"] and relays != [player.chosen(match["relay"])]:
        raise NotSo(f"the way leads through {', '.join(relays) or 'nobody'}")
    return f"{'through ' + ', '.join(relays) if relays else 'directly'}, {rtt:.2f} ms"


@says(r"pod (?P<source>\S+) reaches a pod of (?P<subnet>\S+) (?P<way>directly|through a forwarder)")
def _reaches_one(player: Player, match: re.Match[str]) -> str:
    """Which of the subnet's nodes have routes of their own is the plan's business."""
    for target in player.lab.nodes(match["subnet"]):
        way, rtt = player.reach(match["source"], target)
        relays = player.relays(way)
        if bool(relays) == (match["way"] == "through a forwarder"):
            through = f" through {', '.join(relays)}" if relays else ""
            return f"pod {target}{through}, {rtt:.2f} ms"
    raise NotSo(f"no pod of {match['subnet']} is reached {match['way']}")


@says(r"the table of (?P<subnet>\S+) has (?P<kind>only aggregated|direct) routes")
def _kinds(player: Player, match: re.Match[str]) -> str:
    direct = len(player.lab.direct(match["subnet"]))
    if bool(direct) == (match["kind"] == "only aggregated"):
        raise NotSo(f"the table has {direct} direct routes")
    return f"{direct} direct routes"


@says(r"terminate (?P<node>.+)")
def _terminate(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    instance = player.lab.ids[node]
    deed = player.provoke(
        f"{node} terminated",
        lambda: player.lab.operator.terminate_instances(InstanceIds=[instance]),
        node,
    )
    return f"{node}: {deed}"


@says(r"alarm for (?P<node>.+)")
def _alarm(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    name = f"{STATUS_CHECK}-{node}"
    cloudwatch = player.lab.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/EC2",
        MetricName=STATUS_CHECK,
        Dimensions=[{"Name": "InstanceId", "Value": player.lab.ids[node]}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    deed = player.provoke(
        f"{STATUS_CHECK} alarm for {node}",
        lambda: cloudwatch.set_alarm_state(
            AlarmName=name, StateValue="ALARM", StateReason="status check failed"
        ),
        node,
    )
    return f"{node}: {deed}"


@says(r"node (?P<node>\S+) joins (?P<subnet>\S+)")
def _join(player: Player, match: re.Match[str]) -> str:
    return player.lab.launch(match["node"], match["subnet"])


@says(r"no route leads through (?P<node>.+)")
def _nothing_through(player: Player, match: re.Match[str]) -> str:
    node = player.chosen(match["node"])
    left = [
        f"{destination} in rtb-{subnet.name}"
        for subnet in player.lab.plan.subnets
        for destination, hop in player.lab.managed(subnet.name)
        if hop == node
    ]
    if left:
        raise NotSo(f"through {node}: {', '.join(left)}")
    return ""


@says(r"the referee found nothing")
def _no_breach(player: Player, _: re.Match[str]) -> str:
    if breaches := player.lab.review():
        raise NotSo("\n".join(f"{one.invariant} {one.what}" for one in breaches))
    if player.lab.mirror.faults:
        raise NotSo("\n".join(player.lab.mirror.faults))
    return f"{player.lab.referee.writes} writes judged"
