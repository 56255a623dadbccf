"""Builds and deploys the stack with the real SAM CLI: ``sam build``, ``sam deploy`` into the lab's region.

The command builds, while there is a network; the lab deploys.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podway_lab.deployed.emulator import Runtime
from podway_lab.sources import TEMPLATE
from podway_lab.stack.template import Place

EMULATED_ACCOUNT = "012345678912"
"""The account in every ``invoked_function_arn``: the emulator has it built in, so the region takes it too."""
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_SOURCES = ("template.yaml", "functions", "layers")
_KEEP = 3
"""Builds of earlier sources that are kept: going back to another branch then needs no build."""


class NotEquipped(Exception):
    """The deployed stack cannot run on this machine; the message says what to install."""


class CommandFailed(Exception):
    """The SAM CLI refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The SAM CLI, the runtime that it brings, and the processor that both are of."""

    sam: Path
    runtime: Runtime
    architecture: str

    @property
    def environment(self) -> dict[str, str]:
        """For the SAM CLI: its own Python 3.13 first, no telemetry, and nobody's credentials."""
        others = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "SAM_"))}
        return {**others, "PATH": f"{self.sam.parent}:{os.environ.get('PATH', '')}", "SAM_CLI_TELEMETRY": "0"}


@dataclass(frozen=True, slots=True)
class Built:
    """What ``sam build`` has made."""

    tools: Tools
    folder: Path


def checkout() -> Path:
    """The repository that this lab is a part of. Raises NotEquipped in a wheel, which lacks the layers."""
    folder = TEMPLATE.resolve().parent
    if not all((folder / name).exists() for name in _SOURCES):
        raise NotEquipped(
            "sam build needs the repository, and this lab was installed without it: "
            "run podway-lab from a checkout after 'make setup'"
        )
    return folder


def find_tools(checkout: Path) -> Tools:
    """What ``make setup`` installed where it found a Python 3.13. Raises NotEquipped."""
    architecture = ARCHITECTURES.get(platform.machine().lower())
    if architecture is None:
        raise NotEquipped(f"the SAM CLI brings no runtime emulator for a {platform.machine()}")
    sam, python = checkout / ".sam-venv" / "bin" / "sam", checkout / ".lambda-venv" / "bin" / "python3.13"
    emulators = list(checkout.glob(f".sam-venv/lib/*/site-packages/samcli/local/rapid/*-rie-{architecture}"))
    if not (sam.exists() and python.exists() and emulators):
        raise NotEquipped(
            "no Python 3.13 with the SAM CLI here: install Python 3.13, then run 'make setup' again"
        )
    return Tools(sam, Runtime(emulators[0], python), architecture)


def build(checkout: Path, tools: Tools) -> Built:
    """The artifacts of the present sources; made anew only when these have changed. Needs the network then.

    Raises CommandFailed.
    """
    folder = checkout / ".aws-sam" / "lab" / _fingerprint(checkout)
    with _alone(folder.parent):
        if not (folder / "template.yaml").exists():
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _sam(tools, checkout, "build", "--build-dir", str(unfinished))
            unfinished.rename(folder)
        os.utime(folder)
        for old in sorted(folder.parent.iterdir(), key=lambda one: -one.stat().st_mtime)[1 + _KEEP :]:
            shutil.rmtree(old, ignore_errors=True)
    return Built(tools, folder)


def deploy(built: Built, place: Place, parameters: Mapping[str, str], home: Path) -> str:
    """``sam deploy`` into the region at ``place.endpoint``; what it said. Raises CommandFailed."""
    values = {**parameters, "Architecture": built.tools.architecture}
    return _sam(
        built.tools,
        built.folder,
        "deploy",
        *("--template-file", str(built.folder / "template.yaml"), "--stack-name", place.stack),
        *("--resolve-s3", "--no-confirm-changeset"),
        *("--no-progressbar", "--capabilities", "CAPABILITY_IAM"),
        *("--parameter-overrides", *(f"{key}={value}" for key, value in values.items())),
        more={
            "HOME": str(home),
            "AWS_ENDPOINT_URL": place.endpoint,
            "AWS_DEFAULT_REGION": place.region,
            "AWS_ACCESS_KEY_ID": "operator",
            "AWS_SECRET_ACCESS_KEY": "secret",  # nobody checks it in the lab
        },
    )


def _sam(tools: Tools, folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(tools.sam), *arguments],
        cwd=folder,
        env={**tools.environment, **(more or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise CommandFailed(f"sam {arguments[0]} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _fingerprint(checkout: Path) -> str:
    """Changes with every source that goes into the artifacts."""
    summed = hashlib.sha256()
    for path in _sources(checkout):
        summed.update(f"{path.relative_to(checkout)}\0".encode())
        summed.update(path.read_bytes())
    return summed.hexdigest()[:16]


def _sources(checkout: Path) -> Iterator[Path]:
    for name in _SOURCES:
        place = checkout / name
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                yield path


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One build at a time, also among several labs."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
