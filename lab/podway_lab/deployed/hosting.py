"""Runs the functions of a stack that SAM has deployed, under Lambda's real runtime.

The lab uses it with ``--deployed``. The code is what was uploaded; ``emulator`` runs the single environments.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from podway_lab.deployed.cloudformation import CloudFormationStack
from podway_lab.deployed.emulator import Emulated, Runtime, Unpacked
from podway_lab.stack.deploy import Credentials
from podway_lab.stack.functions import Environment
from podway_lab.stack.inprocess import surroundings
from podway_lab.stack.template import FunctionSpec

AT_ONCE = 3
"""Environments of a function that events wake; Lambda starts as many as it takes."""


class UnderEmulator:
    """Hosts a stack's functions: one emulator process per concurrent environment."""

    def __init__(
        self,
        stack: CloudFormationStack,
        runtime: Runtime,
        *,
        credentials: Callable[[str], Credentials],
        folder: Path,
        with_mounts: bool,
    ) -> None:
        """*credentials* makes those of a caller by its name; *folder* takes code, layers and logs."""
        self._stack = stack
        self._runtime = runtime
        self._credentials = credentials
        self._folder = folder
        self._with_mounts = with_mounts
        self._fed_in_order = self._only_by_queue()
        self._environments: list[Emulated] = []

    def enter(self) -> None:
        """Nothing: environments start with their first event."""

    def leave(self) -> None:
        """Nothing: their `FunctionHost` has ended the environments."""

    def environments(self, spec: FunctionSpec) -> tuple[Environment, ...]:
        """One where all events come from a FIFO queue of one group, otherwise several."""
        count = 1 if spec.name in self._fed_in_order else AT_ONCE
        made = tuple(self._environment(spec, number) for number in range(count))
        self._environments += made
        return made

    def set_variables(self, variables: Mapping[str, str]) -> None:
        for environment in self._environments:
            environment.set_variables(variables)

    def _environment(self, spec: FunctionSpec, number: int) -> Emulated:
        name = f"{spec.name}-{number}"
        credentials = self._credentials(name)
        mounts = self._folder / "mounts" / name
        mounts.mkdir(parents=True)
        log = self._folder / f"{name}.log"
        log.touch()
        layers = self._unpacked("layers", self._stack.layers(spec.name))
        return Emulated(
            spec,
            self._runtime,
            Unpacked(self._unpacked("code", [self._stack.code(spec.name)]), layers, mounts),
            caller=credentials.owner,
            variables=surroundings(self._stack.place, credentials),
            log=log,
            with_mounts=self._with_mounts,
        )

    def _unpacked(self, kind: str, archives: list[bytes]) -> Path:
        """A folder with all *archives*, later ones over earlier ones; equal ones share it."""
        summed = hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in archives))
        folder = self._folder / kind / summed.hexdigest()[:16]
        if not folder.exists():
            folder.mkdir(parents=True)
            for archive in archives:
                with zipfile.ZipFile(io.BytesIO(archive)) as opened:
                    opened.extractall(folder)
        return folder

    def _only_by_queue(self) -> set[str]:
        mappings = self._stack.source_mappings()
        targets = {target.function for rule in self._stack.rules() for target in rule.targets}
        queued = {one.function for one in mappings if not self._stack.stream_of(one.source)}
        streamed = {one.function for one in mappings if self._stack.stream_of(one.source)}
        return queued - streamed - targets
