"""Holds a cluster open for the ``podway`` command: brings it up, prints where it is, and waits.

Called by the command ``podway-lab hold``. The control plane runs alone, since a region with packets is served
inside the lab's own network namespace, where no other shell can reach it.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

from rich.console import Console

from podway_lab.lab import Lab
from podway_lab.scenario.language import Scenario, Sentence
from podway_lab.scenario.player import Player
from podway_lab.scenario.report import Report
from podway_lab.scenario.stage import Stage
from podway_lab.stack.inprocess import shared_environment

_SETTINGS = "PODWAY_"
_BRINGING_UP = (
    Sentence(0, "start"),
    Sentence(0, "all nodes are ready", within=120),
    Sentence(0, "show routes"),
)


def hold(scenario: Scenario, console: Console) -> bool:
    """Bring up the cluster that *scenario* describes, and keep it until the process is interrupted.

    False if its nodes did not get ready. What the scenario would do to the cluster is not played.
    """
    with _interruptible(), Lab(scenario.plan, with_fabric=False) as lab:
        player = Player(Stage(lab, Report(console)))
        if not player.carry_out(replace(scenario, sentences=_BRINGING_UP)):
            return False
        console.print("\nHeld until Ctrl-C. In another shell:\n", highlight=False)
        for name, value in _surroundings(lab).items():
            console.file.write(f"export {name}={shlex.quote(value)}\n")  # to be copied: print would wrap it
        console.print("podway status\n", highlight=False)
        console.file.flush()
        with suppress(KeyboardInterrupt):
            signal.pause()
    console.print("the lab has ended, and with it all that it held")
    return True


def _surroundings(lab: Lab) -> Mapping[str, str]:
    """The variables with which ``podway`` and the AWS CLI find the region, and ``podway`` the cluster."""
    told = shared_environment(lab.delivery.stack.functions().values())
    return {
        "AWS_ENDPOINT_URL": lab.server.url,
        "AWS_REGION": lab.ec2.settings.name,
        "AWS_DEFAULT_REGION": lab.ec2.settings.name,
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": "secret",
        **{name: value for name, value in sorted(told.items()) if name.startswith(_SETTINGS)},
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, and so does SIGINT where the shell had it ignored."""
    before = {
        number: signal.signal(number, signal.default_int_handler)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
