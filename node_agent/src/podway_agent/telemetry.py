"""What the agent says of itself: health, metrics and status, read from its parts. Report asks for them.

Reading changes nothing. docs/agent.md says what each metric means.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from podway_agent.dataplane import Outcome
from podway_agent.host.ena import ethtool, exceeded
from podway_agent.host.identity import Identity
from podway_agent.host.metrics import Metric, counter, gauge
from podway_agent.loop import Loop
from podway_agent.probing import report
from podway_agent.probing.prober import Prober
from podway_agent.settings import Settings
from podway_agent.store.sync import StoreSync

if TYPE_CHECKING:
    from podway_agent.kubernetes.node_status import NodeStatusWriter

HUNG_SECONDS = 60.0
"""A loop that has not come round for longer hangs: it should every ten seconds."""


@dataclass(frozen=True)
class Telemetry:
    """Reads the parts, from any thread."""

    settings: Settings
    identity: Identity
    loop: Loop
    sync: StoreSync
    prober: Prober
    node_status: NodeStatusWriter | None
    """None without credentials for Kubernetes."""
    started: float = field(default_factory=time.monotonic)

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

    def status(self) -> dict[str, Any]:
        """What ``podway-agent status`` prints."""
        outcome = self.loop.outcome or Outcome(0)
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
            report.STATUS_KEY: report.status(self.prober),
        }

    def metrics(self) -> list[Metric]:
        """What Prometheus is told."""
        return [*self._of_snapshot(), *self._of_kernel(), *self._of_store(), *report.metrics(self.prober)]

    def _of_snapshot(self) -> list[Metric]:
        """How far the newest snapshot has come, and what it gives the node."""
        sync, outcome = self.sync, self.loop.outcome or Outcome(0)
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
            gauge(
                "addresses",
                "Pods' addresses in the node's blocks: in use, and as many as there could be.",
                used=sync.usage.used,
                room=sync.usage.room,
            ),
            gauge("blocks", "Blocks: held, and needed.", held=sync.usage.blocks, wanted=sync.usage.wanted),
        ]

    def _of_kernel(self) -> list[Metric]:
        """What the kernel holds, and what others did to it."""
        outcome, counters = self.loop.outcome or Outcome(0), self.loop.counters
        dataplane = self.loop.dataplane
        table, resets, link = dataplane.table, dataplane.switches.resets, dataplane.link
        return [
            gauge("routes", "Our routes.", desired=outcome.desired, present=outcome.present),
            gauge("faults", "What keeps the kernel from holding the snapshot.", value=len(outcome.faults)),
            gauge("cni_written", "1 when the CNI configuration stands.", value=outcome.cni_written),
            counter("drift_repaired", "Routes that others changed and we put right.", value=counters.drift),
            counter("table_repaired", "Times that others changed our nftables table.", value=table.repairs),
            counter("switch_resets", "Times that others reset a sysctl.", value=resets.total()),
            counter("convergences", "Times that the kernel was compared.", value=counters.convergences),
            counter("events_lost", "Times that the kernel dropped events.", value=counters.overflows),
            counter(
                "ena_allowance_exceeded",
                "Packets that EC2 held back since boot, by allowance; only the ENA driver counts them.",
                **(exceeded(ethtool(link.name)) if link else {}),
            ),
        ]

    def _of_store(self) -> list[Metric]:
        """How the store and the API server answer."""
        sync = self.sync
        answered = sync.answered if sync.answered is not None else self.started
        return [
            counter("store_requests", "Requests to the store.", value=sync.requests),
            gauge("store_failures", "Of the store, in a row.", value=sync.failures),
            gauge("store_silence_seconds", "Since the last answer.", value=time.monotonic() - answered),
            gauge(
                "kubernetes_failures",
                "Of the API server, in a row; 0 without credentials.",
                value=self.node_status.failures if self.node_status else 0,
            ),
        ]
