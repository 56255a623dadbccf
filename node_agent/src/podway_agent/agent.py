"""Makes the agent's parts, connects them, and runs each in its thread. ``podway-agent run`` calls it."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from podway.wire.snapshot import Snapshot

from podway_agent.dataplane import Dataplane, Outcome
from podway_agent.host.disk import STATUS, StateDirectory
from podway_agent.host.identity import Identity, MetadataAway, boot_id, identify
from podway_agent.host.logs import start_logging
from podway_agent.host.report import Report
from podway_agent.host.systemd import give_signs_of_life, notify
from podway_agent.host.workqueue import WorkQueue
from podway_agent.loop import Loop
from podway_agent.pods.addresses import count_usage, held_blocks
from podway_agent.pods.conflist import blocks_named
from podway_agent.probing.prober import Prober
from podway_agent.probing.report import suspected_before
from podway_agent.settings import Settings
from podway_agent.store.client import LateStore, Store, StoreAway, cloud
from podway_agent.store.sync import StoreSync
from podway_agent.telemetry import Telemetry

if TYPE_CHECKING:
    from podway_agent.kubernetes.node_status import NodeStatusWriter

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
STOP_SECONDS = 1.0
"""How long the end waits for a call to the store, and then for the disk; nothing depends on either."""


def run(settings: Settings) -> int:
    """Run until a signal ends it; the kernel stays as it is. Always 0."""
    start_logging(settings.log_level)
    state = StateDirectory(settings.state_dir)
    identity = _identify(settings, state)
    log.info("identity", extra=asdict(identity))
    agent = Agent(settings, identity, state)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.loop.stop())
    agent.run()
    log.info("stopped")
    return 0


def _ask(settings: Settings, state: StateDirectory, *, trust_disk: bool) -> Identity:
    return identify(
        state,
        region=settings.region,
        role_id=settings.role_id,
        ask_sts=lambda region: cloud().user_id(region),
        trust_disk=trust_disk,
    )


def _identify(settings: Settings, state: StateDirectory) -> Identity:
    """Who we are, asked until it is known: without that there is nothing to do."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return _ask(settings, state, trust_disk=True)
        except (MetadataAway, StoreAway, OSError) as error:
            log.warning("identity unknown", extra={"reason": str(error)})
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _version() -> str:
    """Of the installed package; empty when the agent runs from a source tree."""
    try:
        return version("podway")
    except PackageNotFoundError:
        return ""


@dataclass
class Agent:
    """The loop in the calling thread; store sync, prober and the writing to disk in threads of their own."""

    settings: Settings
    identity: Identity
    state: StateDirectory
    store: Store | None = None

    def __post_init__(self) -> None:
        told, instance = self.settings, self.identity.instance
        self.disk = WorkQueue()
        before = suspected_before(self.state.read(STATUS))
        self.prober = Prober(self._suspect, told.probe_seconds, suspected_before=before)
        dataplane = Dataplane(told, self.identity, suspects=lambda: self.prober.suspects)
        self.loop = Loop(dataplane, self._converged, resync_seconds=told.resync_seconds)
        region = told.region or self.identity.region
        self.sync = StoreSync(
            settings=told,
            identity=self.identity,
            store=self.store or LateStore(told.table, region=region, endpoint=told.endpoint),
            state=self.state,
            deliver=self.loop.deliver,
            newest=self.state.load_snapshot(cluster=told.cluster, subnet=self.identity.subnet),
            renew=lambda: _ask(told, self.state, trust_disk=False),
            count=lambda snapshot: count_usage(snapshot, instance, told.cni_data_dir),
            suspects=self.prober.suspects,
            held_here=lambda known: held_blocks(known, instance, told.cni_data_dir, told.cni_conf_dir),
            version=_version(),
            boot=boot_id(),
        )
        self.node_status = self._make_node_status()
        telemetry = Telemetry(told, self.identity, self.loop, self.sync, self.prober, self.node_status)
        self.report = Report(
            state=self.state,
            later=self.disk.add,
            status=telemetry.status,
            alive=telemetry.alive,
            ready=telemetry.ready,
            metrics=telemetry.metrics,
        )

    def _make_node_status(self) -> NodeStatusWriter | None:
        """Nobody tells Kubernetes of the node, unless there are credentials."""
        if not self.settings.kubernetes:
            return None
        from podway_agent.kubernetes.node_status import NodeStatusWriter, node_name  # noqa: PLC0415  (not everybody asks for it)

        return NodeStatusWriter(
            self.settings.kubernetes,
            node_name(self.settings.kubernetes_node),
            lambda: self.identity.instance,
            lambda: blocks_named(self.settings.cni_conf_dir) or (),
        )

    def run(self) -> None:
        """Work until the loop is stopped."""
        disk = self._start("disk", self.disk.run)
        if self.sync.newest is not None:
            log.info("saved snapshot", extra={"generation": self.sync.newest.generation})
            self.loop.deliver(self.sync.newest)
            self.loop.step(0)
        if self.settings.listen:
            self.report.serve(self.settings.listen)
        notify("READY=1")
        give_signs_of_life(self.report.alive)
        sync = self._start("store sync", self.sync.run)
        self._start("prober", self.prober.run)
        if self.node_status is not None:
            self._start("node status", self.node_status.run)
        self.loop.run()
        notify("STOPPING=1")
        self.prober.stop()
        self.sync.stop()
        sync.join(STOP_SECONDS)
        self.disk.stop()
        disk.join(STOP_SECONDS)

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Work in a thread; a fault of our own ends the process, to be started again."""

        def guarded() -> None:
            try:
                work()
            except BaseException:
                log.exception("%s failed", name)
                os._exit(70)  # EX_SOFTWARE; the kernel stays as it is

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _converged(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """Pass on what the loop found: the store acknowledges what the kernel holds."""
        if outcome.is_complete:
            self.sync.kernel_holds(snapshot.generation, snapshot.epoch)
        self.prober.take(self.loop.dataplane.targets)
        if self.node_status is not None:
            self.node_status.converged()
        self.report.news()

    def _suspect(self, nodes: frozenset[str]) -> None:
        """Pass on whom the prober suspects: the store first, it is urgent."""
        self.sync.suspect(nodes)
        self.report.news()
