"""A node in a network namespace of its own, its agent's parts within reach."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from podway.wire.snapshot import Snapshot
from podway_agent.dataplane import Dataplane, Outcome
from podway_agent.host.identity import Identity
from podway_agent.loop import Loop
from podway_agent.settings import Settings
from podway_lab.fabric.namespace import Namespace, new_namespace

from tests import limits
from tests.unit.agent.snapshots import CLUSTER, HERE, SUBNET

T = TypeVar("T")
MAC = "02:00:00:00:00:0a"
SELF = Identity(HERE, SUBNET, "10.0.0.10", MAC, "us-west-2", f"AROAX:{HERE}")
PATIENCE = limits.PATIENCE_SECONDS
"""Seconds until a thing that must happen is given up; never what a test measures."""


def settings(directory: Path, **changed: Any) -> Settings:
    places: dict[str, Any] = {
        "state_dir": directory / "state",
        "cni_conf_dir": directory / "cni" / "net.d",
        "cni_data_dir": directory / "addresses",
        "listen": "",
    }
    return Settings(**{"cluster": CLUSTER, "table": "podway", **places, **changed})


def soon(what: Callable[[], T]) -> T:
    """What *what* returns once that is true; the last assertion or value if it never is."""
    end = time.monotonic() + PATIENCE
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found, "it never happened"
    return found


class Node:
    """``ens5`` holds 10.0.0.10/20 and the default route; its other end is ``wire``."""

    def __init__(self, directory: Path, namespace: Namespace | None = None) -> None:
        self.directory = directory
        self.namespace = namespace or new_namespace()
        if namespace is None:
            self.wire_up()
        self.settings = settings(directory)
        self.dataplane = self.namespace.call(lambda: Dataplane(self.settings, SELF))
        self.told: list[Outcome] = []

    def wire_up(self) -> None:
        self.namespace.ip(
            "link set lo up",
            f"link add name ens5 address {MAC} mtu 9001 type veth peer name wire mtu 9001",
            "address add 10.0.0.10/20 dev ens5",
            "link set ens5 up",
            "link set wire up",
            "route add default via 10.0.0.1",
        )
        soon(lambda: not any("linkdown" in line for line in self.routes()))  # the carrier comes later

    def converge(self, told: Snapshot, *, look: bool = True) -> Outcome:
        return self.namespace.call(lambda: self.dataplane.converge(told, look=look))

    def watch(self) -> Loop:
        """A loop over the node's kernel; `turn` takes it round once."""
        return self.namespace.call(
            lambda: Loop(self.dataplane, lambda _, outcome: self.told.append(outcome), resync_seconds=3600)
        )

    def turn(self, loop: Loop, until: Callable[[], bool]) -> None:
        """Take the loop round, as its own run() would, until *until* holds."""

        def once() -> bool:
            self.namespace.call(lambda: loop.step(min(loop.pause(), 0.05)))
            return until()

        soon(once)

    def ip(self, *commands: str) -> None:
        self.namespace.ip(*commands)

    def routes(self, *arguments: str) -> list[str]:
        """The main table as ``ip route`` tells it."""
        lines = self.namespace.tool("ip", *arguments, "route", "show", "table", "main").splitlines()
        return [" ".join(line.split()) for line in lines]

    def ours(self) -> list[str]:
        """Our routes, sorted, without what is the same for all."""
        return sorted(
            line.replace(" proto 112", "").replace(" metric 4278198272", " backstop")
            for line in self.routes()
            if "proto 112" in line
        )

    def switch(self, name: str) -> str:
        return self.namespace.tool("cat", f"/proc/sys/net/{name}").strip()

    def rules(self) -> str:
        return self.namespace.tool("nft", "list", "ruleset")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "podway_agent", *arguments]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dataplane.kernel.close()
        self.namespace.close()
