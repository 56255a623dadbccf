"""The command ``podway-lab``: plays scenarios on this machine."""

from __future__ import annotations

import faulthandler
import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from podway_lab.deployed.sam import CommandFailed, NotEquipped, build, checkout, find_tools
from podway_lab.fabric.entry import NoNamespaces, enter
from podway_lab.holding import hold
from podway_lab.lab import Lab
from podway_lab.machines import AGENT_LOG, Fleet
from podway_lab.scenario.language import BadScenario, Scenario, parse
from podway_lab.scenario.player import Player, check
from podway_lab.scenario.report import Report
from podway_lab.scenario.stage import Stage
from podway_lab.sources import DEMO
from podway_lab.stack.functions import Invocation

_no_packets = click.option(
    "--no-packets", is_flag=True, help="The control plane alone, without network namespaces."
)
_deployed = click.option(
    "--deployed", is_flag=True, help="sam build, sam deploy, and the functions under Lambda's own runtime."
)
_logs = click.option(
    "--logs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for what functions and agents logged; without it logs are kept when something went wrong.",
)

_agents = click.option(
    "--agents",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Checkout of another release, whose agents the nodes start with until they are upgraded.",
)


@click.group()
def main() -> None:
    """A VPC in a box: run Podway without an AWS account."""


@main.command()
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_no_packets
@_deployed
@_logs
@_agents
def run(scenario: Path, *, no_packets: bool, deployed: bool, logs: Path | None, agents: Path | None) -> None:
    """Play SCENARIO, and see whether all that it expects comes true.

    Exit code 0 if it does, 1 if not, 2 if the file is no scenario or cannot be played here.
    """
    sys.exit(play_file(scenario, no_packets=no_packets, deployed=deployed, logs=logs, agents=agents))


@main.command()
@_no_packets
@_deployed
@_logs
def demo(*, no_packets: bool, deployed: bool, logs: Path | None) -> None:
    """Play the demo: three zones, two dead forwarders, a newcomer."""
    sys.exit(play_file(DEMO, no_packets=no_packets, deployed=deployed, logs=logs))


@main.command("hold")
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=DEMO)
def hold_command(*, scenario: Path) -> None:
    """Bring up the cluster of SCENARIO (the demo's if none is named), and keep its region served.

    Prints what the command podway needs to find it, and waits for Ctrl-C. The control plane runs
    alone, without packets, and what SCENARIO does to the cluster is not played.
    """
    console = Console(file=sys.stdout)
    told = _read(scenario, console)
    sys.exit(2 if told is None else 0 if hold(told, console) else 1)


def play_file(
    path: Path,
    *,
    no_packets: bool = False,
    deployed: bool = False,
    logs: Path | None = None,
    agents: Path | None = None,
) -> int:
    """Exit status: 0 everything held, 1 something did not, 2 the file is no scenario or cannot be played."""
    console = Console(file=sys.stdout)
    scenario = _read(path, console)
    if scenario is None:
        return 2
    try:
        built = build(checkout(), find_tools(checkout())) if deployed else None  # while there is a network
    except (NotEquipped, CommandFailed) as error:
        console.print(f"not deployed: {error}", style="red")
        return 2
    with_fabric = not no_packets and _has_namespaces(console)
    report = Report(console)
    with Lab(scenario.plan, with_fabric=with_fabric, deployed=built, agents=agents) as lab:
        good = Player(Stage(lab, report)).play(scenario)
        if logs is not None or not good:
            folder = logs or Path(tempfile.mkdtemp(prefix="podway-logs-"))
            keep_logs(lab, folder)
            console.print(f"  what functions and agents logged: {folder}")
    return 0 if good else 1


def _read(path: Path, console: Console) -> Scenario | None:
    """The scenario in the file at *path*; None, having said why, if it is none."""
    try:
        scenario = parse(path.read_text())
        check(scenario)
    except BadScenario as error:
        console.print(f"{path.name}: {error}", style="red")
        return None
    return scenario


def keep_logs(lab: Lab, folder: Path) -> None:
    """Write to *folder* what functions, agents and the mirror logged, and where the lab's threads are."""
    folder.mkdir(parents=True, exist_ok=True)
    printed = map(_account, lab.delivery.invocations())
    (folder / "functions.log").write_text("".join(printed))
    (folder / "faults.log").write_text("\n".join(lab.mirror.faults))
    with (folder / "threads.log").open("w") as file:
        faulthandler.dump_traceback(file)
    if isinstance(lab.fleet, Fleet):
        for instance, machine in lab.fleet.machines.items():
            (folder / f"{lab.names[instance]}.log").write_bytes(
                (machine.host.directory / AGENT_LOG).read_bytes()
            )


def _account(one: Invocation) -> str:
    """What woke a function, and what it logged: its calls bear the event's id."""
    woken = {"function": one.function, "event_id": one.event_id, "attempt": one.attempt, "event": one.event}
    return "".join((json.dumps(woken), "\n", one.printed, one.error, "\n" * bool(one.error)))


def _has_namespaces(console: Console) -> bool:
    try:
        enter()
    except NoNamespaces as reason:
        console.print(f"no packets here: {reason}", style="yellow")
        console.print("going on with the control plane alone: routes move, but nothing is sent over them")
        return False
    return True


if __name__ == "__main__":
    main()
