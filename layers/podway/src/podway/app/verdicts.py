"""Writes the verdicts that a run of reconcile has judged anew. Events get lost, so every run does."""

from __future__ import annotations

from podway.app.stores import VerdictStore
from podway.domain.health.verdict import Verdict
from podway.domain.run.verdicts import Judged


def keep_verdicts(store: VerdictStore, judged: Judged) -> dict[str, Verdict]:
    """Write only what changes. Returns the verdicts as they are then: others may write at the same time."""
    verdicts = dict(judged.unchanged)
    for verdict in judged.spent:
        store.forget_verdict(verdict)
    for one in judged.changes:
        node, subnet = one.before.instance, one.before.subnet
        verdicts[node] = store.change_verdict(node, subnet, one.change, seen=one.before)
    return verdicts
