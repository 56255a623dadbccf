"""The agent as a whole: who we are, what we last knew, the two sides, and their end."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from podway.domain.addressing import Prefix
from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot, Snapshot

from podway_agent.dataplane import Dataplane, Outcome
from podway_agent.host.disk import STATUS, StateDirectory
from podway_agent.host.ena import ethtool, exceeded
from podway_agent.host.identity import Identity, MetadataAway, identify
from podway_agent.host.logs import start_logging
from podway_agent.host.systemd import give_signs_of_life, notify
from podway_agent.kernel.membership import own_blocks
from podway_agent.loop import Loop
from podway_agent.pods.addresses import addresses_in_use, fullest
from podway_agent.pods.conflist import blocks_named
from podway_agent.probing import report
from podway_agent.probing.prober import Prober
from podway_agent.settings import Settings
from podway_agent.store.client import DynamoDbStore, Store, StoreAway, Version
from podway_agent.store.sync import StoreSync
from podway_agent.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from podway_agent.host.pages import Metric
    from podway_agent.kubernetes.node_status import NodeStatusWriter
    from podway_agent.store.client import Cloud

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
HUNG_SECONDS = 60.0
STOP_SECONDS = 1.0
"""How long the end waits for a call to the store; nothing depends on it."""
PROBING = "probing"
"""Where the status tells of probing; a new process finds there whom the last one suspected."""


def agent_version() -> str:
    """Of the installed package; empty when it runs from a source tree."""
    try:
        return version("podway")
    except PackageNotFoundError:
        return ""


class LateStore:
    """The store, made when it is first used: the kernel does not wait for the SDK to load."""

    def __init__(self, settings: Settings, region: str) -> None:
        self._settings = settings
        self._region = region

    @cached_property
    def _store(self) -> Store:
        told = self._settings
        return DynamoDbStore(cloud(), told.table, region=self._region, endpoint=told.endpoint)

    def version(self, subnet: str) -> Version | None:
        return self._store.version(subnet)

    def body(self, subnet: str) -> PackedSnapshot | None:
        return self._store.body(subnet)

    def report(self, item: AgentItem) -> None:
        self._store.report(item)


_made: list[Cloud] = []


def cloud() -> Cloud:
    """The process's one SDK session."""
    if not _made:
        from podway_agent.store.client import Cloud  # noqa: PLC0415  (loading it takes longer than all else)

        _made.append(Cloud())
    return _made[0]


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
    pause = FIRST_PAUSE
    while True:
        try:
            return _ask(settings, state, trust_disk=True)
        except (MetadataAway, StoreAway, OSError) as error:
            log.warning("identity unknown", extra={"reason": str(error)})
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
        pause = min(pause * 2, LONGEST_PAUSE)


@dataclass
class Agent:
    """The kernel's side in the calling thread, the store's and the probes in two others."""

    settings: Settings
    identity: Identity
    state: StateDirectory
    store: Store | None = None
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._writing = threading.Lock()
        self.node_status = self._node_status()
        self._pods_had: tuple[Prefix, ...] = ()
        self.prober = Prober(
            self._suspect, self.settings.probe_seconds, suspected_before=self._suspected_before()
        )
        dataplane = Dataplane(self.settings, self.identity, suspects=lambda: self.prober.suspects)
        self.loop = Loop(dataplane, self._tell, resync_seconds=self.settings.resync_seconds)
        saved = self.state.load_snapshot(cluster=self.settings.cluster, subnet=self.identity.subnet)
        self.sync = StoreSync(
            settings=self.settings,
            identity=self.identity,
            store=self.store or LateStore(self.settings, self.settings.region or self.identity.region),
            state=self.state,
            deliver=self.loop.deliver,
            newest=saved,
            renew=lambda: _ask(self.settings, self.state, trust_disk=False),
            count=self.count,
            suspects=self.prober.suspects,
            version=agent_version(),
        )

    def count(self, snapshot: Snapshot) -> Usage:
        """How full this node's blocks are. Raises OSError."""
        return fullest(
            own_blocks(snapshot, self.identity.instance), addresses_in_use(self.settings.cni_data_dir)
        )

    def pods_have(self) -> tuple[Prefix, ...]:
        """The blocks that pods may use, as the conflist that stands names them."""
        return blocks_named(self.settings.cni_conf_dir) or ()

    def _node_status(self) -> NodeStatusWriter | None:
        """Who tells Kubernetes; nobody, unless there are credentials."""
        if not self.settings.kubernetes:
            return None
        from podway_agent.kubernetes.node_status import NodeStatusWriter, node_name  # noqa: PLC0415  (not everybody asks for it)

        return NodeStatusWriter(
            self.settings.kubernetes,
            node_name(self.settings.kubernetes_node),
            lambda: self.identity.instance,
            self.pods_have,
        )

    def run(self) -> None:
        """Work until the loop is stopped."""
        if self.sync.newest is not None:
            log.info("saved snapshot", extra={"generation": self.sync.newest.generation})
            self.loop.deliver(self.sync.newest)
            self.loop.step(0)
        if self.settings.listen:
            self._serve()
        notify("READY=1")
        give_signs_of_life(self.alive)
        sync = self._start("store sync", self.sync.run)
        self._start("prober", self.prober.run)
        if self.node_status is not None:
            self._start("node status", self.node_status.run)
        self.loop.run()
        notify("STOPPING=1")
        self.prober.stop()
        self.sync.stop()
        sync.join(STOP_SECONDS)

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

    def _tell(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """Acknowledge what the kernel holds, and leave word on disk."""
        if outcome.is_complete:
            self.sync.kernel_holds(snapshot.generation)
        self.prober.take(self.loop.dataplane.targets)
        if self.node_status is not None and (have := self.pods_have()) != self._pods_had:
            self._pods_had = have
            self.node_status.news()
        self._leave_word(outcome)

    def _leave_word(self, outcome: Outcome) -> None:
        with self._writing:
            try:
                self.state.write(STATUS, self.status(outcome))
            except OSError as error:
                log.warning("status not written", extra={"reason": str(error)})

    def _suspect(self, nodes: frozenset[str]) -> None:
        """Pass on whom the prober suspects: the store first, it is urgent."""
        self.sync.suspect(nodes)
        self._leave_word(self.loop.outcome or Outcome(0))

    def _suspected_before(self) -> frozenset[str]:
        """Whom the last process suspected: a restart must not take its word back."""
        said = (self.state.read(STATUS) or {}).get(PROBING)
        suspects = said.get("suspects") if isinstance(said, dict) else None
        return frozenset(map(str, suspects)) if isinstance(suspects, list) else frozenset()

    def _serve(self) -> None:
        from podway_agent.host import pages  # noqa: PLC0415  (not everybody asks for it)

        answers = pages.Answers(self.alive, self.ready, self.metrics)
        pages.serve(self.settings.listen, answers)

    def alive(self) -> str:
        """Why the agent is not well; empty when it is."""
        silence = time.monotonic() - max(self.loop.ticked, self.started)
        return f"the loop has not come round for {silence:.0f} s" if silence > HUNG_SECONDS else ""

    def ready(self) -> str:
        """Why the kernel does not hold the newest snapshot; empty when it does."""
        outcome = self.loop.outcome
        if outcome is None:
            return "no snapshot yet"
        return "\n".join(outcome.faults)

    def metrics(self) -> list[Metric]:
        """What Prometheus is told; docs/agent.md says what each means."""
        from podway_agent.host.pages import counter, gauge  # noqa: PLC0415  (not everybody asks for it)

        sync, counters, link = self.sync, self.loop.counters, self.loop.dataplane.link
        table, resets = self.loop.dataplane.table, self.loop.dataplane.switches.resets
        outcome = self.loop.outcome or Outcome(0)
        answered = sync.answered if sync.answered is not None else self.started
        return [
            gauge("complete", "1 while the kernel holds the newest snapshot known.", value=not self.ready()),
            gauge(
                "generation",
                "Generation of the subnet's snapshot: held by the kernel, obeyed, in the store.",
                held=sync.held,
                obeyed=outcome.generation,
                stored=sync.seen,
            ),
            gauge(
                "generations_behind",
                "Generations in the store that the kernel does not hold completely yet.",
                value=max(0, sync.seen - sync.held),
            ),
            gauge("routes", "Our routes.", desired=outcome.desired, present=outcome.present),
            gauge("faults", "What keeps the kernel from holding the snapshot.", value=len(outcome.faults)),
            gauge(
                "addresses",
                "Pods' addresses in the node's blocks: in use, and as many as there could be.",
                used=sync.usage.used,
                room=sync.usage.room,
            ),
            gauge("blocks", "Blocks: held, and needed.", held=sync.usage.blocks, wanted=sync.usage.wanted),
            gauge("cni_written", "1 when the CNI configuration stands.", value=outcome.cni_written),
            counter("drift_repaired", "Routes that others changed and we put right.", value=counters.drift),
            counter("table_repaired", "Times that others changed our nftables table.", value=table.repairs),
            counter("switch_resets", "Times that others reset a sysctl.", value=resets.total()),
            counter("convergences", "Times that the kernel was compared.", value=counters.convergences),
            counter("events_lost", "Times that the kernel dropped events.", value=counters.overflows),
            counter("store_requests", "Requests to the store.", value=sync.requests),
            counter(
                "ena_allowance_exceeded",
                "Packets that EC2 held back since boot, by allowance; only the ENA driver counts them.",
                **(exceeded(ethtool(link.name)) if link else {}),
            ),
            gauge("store_failures", "Of the store, in a row.", value=sync.failures),
            gauge(
                "kubernetes_failures",
                "Of the API server, in a row; 0 without credentials.",
                value=self.node_status.failures if self.node_status else 0,
            ),
            gauge("store_silence_seconds", "Since the last answer.", value=time.monotonic() - answered),
            *report.metrics(self.prober),
        ]

    def status(self, outcome: Outcome) -> dict[str, Any]:
        """What ``podway-agent status`` prints."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "instance": self.identity.instance,
            "subnet": self.identity.subnet,
            "cluster": self.settings.cluster,
            "pid": os.getpid(),
            "generation": {"kernel": self.sync.held, "snapshot": outcome.generation},
            "routes": {"desired": outcome.desired, "present": outcome.present},
            "complete": outcome.is_complete,
            "faults": outcome.faults,
            "warnings": outcome.warnings,
            "cni": outcome.cni_written,
            "drift_repaired": self.loop.counters.drift,
            PROBING: report.status(self.prober),
        }
