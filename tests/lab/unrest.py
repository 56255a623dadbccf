"""A cluster that never rests: random transitions under traffic, in a lab of its own process.

``python -m tests.lab.unrest SEED COUNT [KIND ...]`` prints what happened as one JSON object. Every packet
is numbered; a lost one counts against the transition during which it was sent.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any

from podway_lab.fabric.entry import enter
from podway_lab.lab import Lab, LabPlan, SubnetPlan
from podway_lab.scenario.background import Background
from podway_lab.scenario.report import Report
from podway_lab.scenario.stage import Stage
from rich.console import Console

from tests import limits

RATE = 1000
QUIET = 2.5
"""Seconds without a write after which a transition is over; the schedule ticks faster."""
PATIENCE = limits.PATIENCE_SECONDS
FOREIGN = 7
"""Of a quota of 14: room for four routes per table, where nine to fifteen blocks are."""
MOST_FOREIGN = 9
ALARM = "StatusCheckFailed"
PLAN = LabPlan(
    cluster="unrest",
    quota=14,
    tick=2.0,
    hold_down=2,
    subnets=tuple(
        SubnetPlan(name, f"10.0.{16 * place}.0/20", f"us-west-2{name}", (f"{name}1", f"{name}2"), FOREIGN)
        for place, name in enumerate("abc")
    ),
)


class NotPossible(Exception):
    """The cluster is not such that this transition can be made now."""


@dataclass
class Transition:
    """One that was made: its kind, the route writes that it took, and what was lost meanwhile."""

    kind: str
    what: str
    writes: int = 0
    lost: int = 0
    began: float = 0.0
    ended: float = 0.0


@dataclass
class Unrest:
    """Makes transitions in a lab, one after the other, each to its end."""

    lab: Lab
    chance: random.Random
    made: list[Transition] = field(default_factory=list)
    _foreign: dict[str, int] = field(default_factory=dict)
    _visitors: int = 0

    def __post_init__(self) -> None:
        self.stage = Stage(self.lab, Report(Console(file=sys.stderr)))
        self.traffic = Background()
        self.kinds: dict[str, Callable[[], str]] = {
            "split": self.split,
            "merge": self.merge,
            "failover": self.fail_over,
            "join": self.join,
            "leave": self.leave,
            "drain": self.drain,
        }

    def begin(self) -> None:
        """Start the residents and their traffic."""
        self.start_nodes()
        self.start_traffic()

    def start_nodes(self) -> None:
        self.lab.launch_all()
        self.must(lambda: all(map(self.lab.is_ready, self.lab.nodes())), "all nodes are ready")
        self.settle()

    def start_traffic(self) -> None:
        """A flow both ways between each two zones."""
        for number, (one, two) in enumerate(permutations(self.lab.subnets, 2)):
            source, target = f"{one}{number % 2 + 1}", f"{two}{(number + 1) % 2 + 1}"
            self.traffic.start((source, self.lab.pod(source)), (target, self.lab.pod(target)), RATE)
        time.sleep(0.5)

    def make(self, kind: str) -> bool:
        """Make a transition of that kind; False where it is not possible just now."""
        began, writes = time.monotonic(), self.lab.referee.writes
        try:
            what = self.kinds[kind]()
        except NotPossible:
            return False
        self.settle()
        ended = time.monotonic()
        self.made.append(Transition(kind, what, self.lab.referee.writes - writes, began=began, ended=ended))
        sys.stderr.write(f"{kind}: {what}\n")
        return True

    def account(self) -> dict[str, Any]:
        """End the traffic; what was made, sent and lost, and what is broken."""
        time.sleep(0.5)
        outages = [
            (outage, source, target)
            for source, target, figures in self.traffic.look()
            for outage in figures.outages
        ]
        losses = self.traffic.stop()
        for outage, _, _ in outages:
            for one in self.made:
                if one.began <= outage.began <= one.ended:
                    one.lost += outage.lost
        lost = sum(loss.lost for loss in losses)
        breaches = [f"{one.invariant} {one.what}" for one in self.lab.review()] + self.lab.mirror.faults
        broken = [f"{lost} packets lost: {self._told(outages)}"] if lost else []
        return {
            "made": [asdict(one) for one in self.made],
            "sent": sum(loss.sent for loss in losses),
            "lost": lost,
            "broken": "; ".join(broken + breaches),
        }

    def _told(self, outages: Sequence[tuple[Any, str, str]]) -> str:
        lines = []
        for outage, source, target in outages[:20]:
            during = next((one for one in self.made if one.began <= outage.began <= one.ended), None)
            when = f"{during.kind} ({during.what})" if during else "nothing"
            lines.append(f"{source}→{target} {outage.lost} in {outage.ms:.0f} ms during {when}")
        return ", ".join(lines)

    # Waiting

    def must(self, condition: Callable[[], bool], what: str) -> None:
        if not self.lab.wait(condition, timeout=PATIENCE):
            raise TimeoutError(f"it never came true that {what}")

    def settle(self) -> None:
        """Wait until nothing has been written to any table for a while."""
        end = time.monotonic() + PATIENCE
        writes, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            if time.monotonic() > end:
                raise TimeoutError("the control plane does not come to rest")
            if (now := self.lab.referee.writes) != writes:
                writes, since = now, time.monotonic()
            time.sleep(0.05)

    def forwarders(self) -> list[str]:
        return sorted({hop for owner, hop in self.stage.carried() if hop is not None and hop != owner})

    # Transitions

    def split(self) -> str:
        """Somebody's routes go, and there is room for more of ours."""
        subnet = self._table(lambda count: count > 5)
        before = len(dict(self.lab.managed(subnet)))
        count = self.chance.choice([1, 2])
        for _ in range(min(count, self._foreign[subnet] - 5)):
            self._foreign[subnet] -= 1
            self.lab.operator.delete_route(
                RouteTableId=self.lab.ids[f"rtb-{subnet}"], DestinationCidrBlock=self._range(subnet)
            )
        self.must(lambda: len(dict(self.lab.managed(subnet))) > before, "a prefix was split")
        return f"rtb-{subnet} {before} → {len(dict(self.lab.managed(subnet)))} routes"

    def merge(self) -> str:
        """Somebody's routes come, and ours must make room."""
        subnet = self._table(lambda count: count < MOST_FOREIGN)
        before = len(dict(self.lab.managed(subnet)))
        for _ in range(min(self.chance.choice([1, 2]), MOST_FOREIGN - self._foreign[subnet])):
            self.lab.operator.create_route(
                RouteTableId=self.lab.ids[f"rtb-{subnet}"],
                DestinationCidrBlock=self._range(subnet),
                GatewayId=self._gateway(subnet),
            )
            self._foreign[subnet] += 1
        self.must(lambda: len(dict(self.lab.managed(subnet))) < before, "prefixes were merged")
        return f"rtb-{subnet} {before} → {len(dict(self.lab.managed(subnet)))} routes"

    def _table(self, suits: Callable[[int], bool]) -> str:
        for subnet in self.lab.subnets:
            self._foreign.setdefault(subnet, FOREIGN)
        found = [subnet for subnet in self.lab.subnets if suits(self._foreign[subnet])]
        if not found:
            raise NotPossible
        return self.chance.choice(found)

    def _range(self, subnet: str) -> str:
        """Somebody's next route, or, counted down already, the last: the lab numbers them from 0."""
        return f"192.168.{self._foreign[subnet]}.0/24"

    def _gateway(self, subnet: str) -> str:
        tables = self.lab.operator.describe_route_tables(RouteTableIds=[self.lab.ids[f"rtb-{subnet}"]])
        gateway: str = next(
            route["GatewayId"]
            for route in tables["RouteTables"][0]["Routes"]
            if str(route.get("GatewayId", "")).startswith("igw-")
        )
        return gateway

    def fail_over(self) -> str:
        """A forwarder's alarm: its routes are replaced while it still relays."""
        node = self._forwarder()
        cloudwatch = self.lab.client("cloudwatch")
        cloudwatch.put_metric_alarm(
            AlarmName=f"{ALARM}-{node}",
            Namespace="AWS/EC2",
            MetricName=ALARM,
            Dimensions=[{"Name": "InstanceId", "Value": self.lab.ids[node]}],
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )
        self._alarm(cloudwatch, node, "ALARM")
        self.must(lambda: node not in self.forwarders(), f"{node} relays nothing")
        self.settle()
        self._alarm(cloudwatch, node, "OK")
        return node

    def _alarm(self, cloudwatch: Any, node: str, state: str) -> None:
        cloudwatch.set_alarm_state(AlarmName=f"{ALARM}-{node}", StateValue=state, StateReason="unrest")

    def join(self) -> str:
        """A node comes."""
        if len(self.lab.nodes()) >= 14:
            raise NotPossible
        subnet = self.chance.choice(self.lab.subnets)
        self._visitors += 1
        node = f"{subnet}{self._visitors + 2}"
        self.lab.launch(node, subnet)
        self.must(lambda: self.lab.is_ready(node), f"{node} is ready")
        return node

    def leave(self) -> str:
        """A node hands over what it relays, and goes."""
        visitors = [node for node in self.lab.nodes() if int(node[1:]) > 2]
        if not visitors:
            raise NotPossible
        node = self.chance.choice(visitors)
        self._hand_over(node)
        self.lab.operator.terminate_instances(InstanceIds=[self.lab.ids[node]])
        return node

    def drain(self) -> str:
        """A forwarder is asked to hand over, and may relay again later."""
        node = self._forwarder()
        self._hand_over(node)
        self.settle()
        self.lab.podway.undrain(self.lab.ids[node])
        return node

    def _hand_over(self, node: str) -> None:
        instance = self.lab.ids[node]
        self.lab.podway.drain(instance)
        self.must(lambda: self.lab.podway.is_drained(instance), f"{node} is drained")

    def _forwarder(self) -> str:
        """One whose subnet has another that could take over."""
        found = [node for node in self.forwarders() if len(self.lab.nodes(node[0])) > 1]
        if not found:
            raise NotPossible
        return self.chance.choice(found)


def kinds(chance: random.Random, count: int, among: Sequence[str]) -> Iterator[str]:
    """*count* kinds in random order, each as often as the others."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += chance.sample(among, len(among))
    return iter(drawn[:count])


def play(seed: int, count: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """A cluster's unrest of *count* transitions, by *seed*."""
    chance = random.Random(seed)
    with Lab(PLAN, with_fabric=True) as lab:
        unrest = Unrest(lab, chance)
        unrest.begin()
        for kind in kinds(chance, count, only or list(unrest.kinds)):
            others = chance.sample(list(unrest.kinds), len(unrest.kinds))
            if not any(unrest.make(one) for one in (kind, *others)):
                raise TimeoutError("no transition is possible")
        return unrest.account()


def play_apart(seed: int, count: int, *only: str, seconds: float = 900) -> dict[str, Any]:
    """The same in a process of its own."""
    return ask_apart("tests.lab.unrest", [str(seed), str(count), *only], seconds)


def ask_apart(module: str, arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """What *module* prints, run in a process: a lab takes over its process's network and variables."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    enter()
    sys.stdout.write(json.dumps(play(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])) + "\n")
