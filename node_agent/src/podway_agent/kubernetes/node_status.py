"""Writes this node's status to Kubernetes. Agent runs it in a thread of its own, if there are credentials.

What fails here is logged and tried again. It never affects the data plane.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from podway.domain.addressing import Prefix

from podway_agent.kubernetes.api import ApiAway, BadCredentials, NodeApi, access
from podway_agent.kubernetes.node import Patch, advise

log = logging.getLogger(__name__)

LOOK_SECONDS = 300.0
"""Between two looks at a Node that is as it should be: a cloud controller may change it again."""
_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 300.0
_JITTER = 0.2


class Node(Protocol):
    """The API of one Node. Each call raises ApiAway."""

    def read(self) -> Mapping[str, Any]:
        """The Node as it is."""

    def patch(self, change: Patch) -> None:
        """Change it."""


def node_name(told: str) -> str:
    """The Node's name: as told, or the kubelet's own default, the host's name in lower case."""
    return told or os.uname().nodename.lower()


@contextmanager
def reach(where: str, name: str) -> Iterator[NodeApi]:
    """The Node *name* through the credentials at *where*. Raises BadCredentials, OSError."""
    with access(where) as given:
        yield NodeApi(given, name)


@dataclass
class NodeStatusWriter:
    """Keeps the Node *name* as it should be, through the credentials at *where*."""

    where: str
    name: str
    instance: Callable[[], str]
    admitted: Callable[[], Sequence[Prefix]]
    """The blocks that pods may use, by the conflist; empty until there is one."""
    reach: Callable[[str, str], AbstractContextManager[Node]] = reach
    chance: Callable[[float, float], float] = random.uniform
    failures: int = 0
    """Of the API server, in a row."""
    _admitted_before: Sequence[Prefix] = ()
    _said: str = ""
    _wake: threading.Event = field(default_factory=threading.Event)
    _stopping: bool = False

    def run(self) -> None:
        """Work until stopped."""
        while not self._stopping:
            self._wake.wait(self.step())
            self._wake.clear()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def converged(self) -> None:
        """Look at the Node soon if the conflist names other blocks than before; in the loop's thread."""
        if (admitted := self.admitted()) != self._admitted_before:
            self._admitted_before = admitted
            self._wake.set()

    def step(self) -> float:
        """Look at the Node and put right what is not; the seconds until the next look."""
        blocks = self.admitted()
        if not blocks:
            return LOOK_SECONDS  # converged() wakes us once there is a conflist
        try:
            self._tell(blocks)
        except (ApiAway, BadCredentials, OSError) as error:
            self.failures += 1
            self._say(str(error))
            pause = float(min(_SHORTEST_RETRY_SECONDS * 2 ** min(self.failures, 10), _LONGEST_RETRY_SECONDS))
            return pause * self.chance(1 - _JITTER, 1 + _JITTER)
        self.failures = 0
        return LOOK_SECONDS * self.chance(1 - _JITTER, 1 + _JITTER)

    def _tell(self, blocks: Sequence[Prefix]) -> None:
        with self.reach(self.where, self.name) as node:
            found = advise(node.read(), self.instance(), blocks, now=datetime.now(UTC))
            for change in found.patches:
                node.patch(change)
        self._say("; ".join(found.doubts))
        if found.patches:
            log.info("Kubernetes told", extra={"node": self.name, "changes": len(found.patches)})

    def _say(self, fault: str) -> None:
        """Log a fault once, not with each look."""
        if fault and fault != self._said:
            log.warning("Kubernetes not told", extra={"reason": fault})
        self._said = fault
