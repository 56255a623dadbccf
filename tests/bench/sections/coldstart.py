"""A cold start of the failover handler under Lambda's own runtime, against the least that it could be."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from podway_lab.deployed.emulator import Emulated, Unpacked
from podway_lab.deployed.sam import Built, NotEquipped, build, checkout, find_tools
from podway_lab.stack.template import FunctionSpec

from tests.bench.page import Page

TITLE = "The failover handler's cold start"

ROUNDS = 11
BOUND = 1.1
LAYERS = ("PodwayLayer", "ThirdPartyLayer")
EVENT = {"id": "nothing", "source": "nobody", "account": "012345678912"}

LEAST = """
import time
import boto3

ec2, dynamodb = boto3.client("ec2"), boto3.client("dynamodb")

def handler(event, context):
    return time.process_time()
"""
"""What the bound is a multiple of."""
BUILT = """
import failover
import time
from podway import bootstrap

bootstrap.failover()

def handler(event, context):
    return time.process_time()
"""
"""The built handler, made to build its clients and use case while it starts, as `LEAST` does."""
SETTINGS = {
    "AWS_REGION": "us-west-2",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "PODWAY_CLUSTER": "demo",
    "PODWAY_POD_CIDRS": "100.64.0.0/16",
    "PODWAY_TABLE": "table",
    "PODWAY_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/123456789012/hints.fifo",
    "POWERTOOLS_SERVICE_NAME": "podway",
    "POWERTOOLS_METRICS_NAMESPACE": "Podway",
}
TRIMMED = {"AWS_DATA_PATH": "/opt/data"}


class Start(NamedTuple):
    """One cold start in milliseconds: the runtime's INIT figure, and the processor time of all of it."""

    init: float
    processor: float


@dataclass(frozen=True, slots=True)
class Case:
    """A function to start: its code, its layers, its settings."""

    name: str
    code: Path
    layers: Path
    more: Mapping[str, str]


def measure(page: Page) -> None:
    """Everything about it; says what is missing where nothing can be measured."""
    try:
        built = build(checkout(), find_tools(checkout()))
    except NotEquipped as reason:
        page.say(f"Not measured: {reason}.")
        return
    with tempfile.TemporaryDirectory(prefix="podway-coldstart-") as place:
        found = started(built, prepared(built, Path(place)), Path(place))
    _report(page, found)


def prepared(built: Built, place: Path) -> list[Case]:
    """The cases, their code written out below *place*."""
    layers, nothing, least, ours = (place / name for name in ("layers", "nothing", "least", "ours"))
    for layer in LAYERS:
        shutil.copytree(built.folder / layer, layers, dirs_exist_ok=True)
    nothing.mkdir()
    least.mkdir()
    (least / "app.py").write_text(LEAST)
    shutil.copytree(built.folder / "FailoverFunction", ours)
    (ours / "app.py").rename(ours / "failover.py")
    (ours / "app.py").write_text(BUILT)
    return [
        Case("least", least, nothing, {}),
        Case("failover", ours, layers, TRIMMED),
        Case("failover without the trimmed models", ours, layers, {}),
    ]


def started(built: Built, cases: Sequence[Case], place: Path, rounds: int = ROUNDS) -> dict[str, list[Start]]:
    """Every start, by case; in each round all cases, in an order of its own."""
    found: dict[str, list[Start]] = {case.name: [] for case in cases}
    chance = random.Random(0)  # the same order every time
    for number in range(rounds):
        for case in chance.sample(cases, len(cases)):
            found[case.name].append(_start(built, case, place / f"{number}"))
    return found


def _start(built: Built, case: Case, place: Path) -> Start:
    """What one start took. Raises RuntimeError if the function does not come up."""
    shutil.rmtree(place, ignore_errors=True)
    (place / "mounts").mkdir(parents=True)
    log = place / "log"
    log.touch()
    environment = Emulated(
        FunctionSpec("Failover", "", "app.handler", 60, 1024, SETTINGS, 0, ""),
        built.tools.runtime,
        Unpacked(case.code, case.layers, place / "mounts"),
        caller="bench",
        variables=case.more,
        log=log,
        with_mounts=True,
    )
    try:
        ran = environment.run(EVENT)
    finally:
        environment.stop()
    told = re.findall(r"INIT REPORT\(durationMs: ([\d.]+)\)", ran.printed)
    if ran.error or not told:
        raise RuntimeError(f"{case.name} did not start: {ran.error}\n{ran.printed}")
    return Start(float(told[-1]), float(ran.result) * 1000)  # of the life that answered


ABOUT = """\
Built by `sam build`, started under the runtime emulator that the SAM CLI brings, interleaved. *INIT* is the
runtime's own figure; *processor* what the function's process has used by then, which depends less on what
else runs here. *Least* imports boto3 and makes an EC2 and a DynamoDB client. To be comparable, the failover
handler builds its clients and its use case while it starts here; deployed, it does so with its first event.
What counts are the ratios of medians. Milliseconds are of a shared machine, not AWS's.
"""


def _report(page: Page, found: Mapping[str, Sequence[Start]]) -> None:
    for line in ABOUT.splitlines():
        page.say(line)
    page.say()
    page.say(f"{len(found['least'])} starts of each.")
    page.table("function", "INIT ms", "fastest", "x least", "processor ms", "x least")
    init = {name: median(one.init for one in starts) for name, starts in found.items()}
    processor = {name: median(one.processor for one in starts) for name, starts in found.items()}
    for name, starts in found.items():
        times = f"{init[name]:.0f}", f"{min(one.init for one in starts):.0f}", init[name] / init["least"]
        page.row(name, *times, f"{processor[name]:.0f}", processor[name] / processor["least"])
    ratio = init["failover"] / init["least"]
    page.say()
    kept = "within" if ratio <= BOUND else "MORE than"
    page.say(f"INIT: {ratio:.2f} x the least, {kept} the bound of {BOUND} x.")
