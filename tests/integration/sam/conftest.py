"""The built artifacts: what `make build` makes, once for all tests that look at it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
SAM_ENVIRONMENT = CHECKOUT / ".sam-venv"
ARCHITECTURES = ("arm64", "x86_64")


@pytest.fixture(scope="session")
def sam() -> Path:
    """The SAM CLI's virtual environment, of a Python 3.13."""
    if (SAM_ENVIRONMENT / "bin" / "sam").exists():
        return SAM_ENVIRONMENT
    reason = "no Python 3.13 here, which the SAM CLI builds for (install one and run 'make setup' again)"
    if os.environ.get("NO_SKIPS"):
        pytest.fail(reason)
    raise pytest.skip.Exception(reason, _use_item_location=True)


@pytest.fixture(scope="session")
def built(sam: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the artifacts of a plain build lie: its Architecture is the default, arm64."""
    assert sam.exists()
    folder = tmp_path_factory.mktemp("plain")
    _run(["make", "--old-file=.venv/.complete", "build", f"BUILDS={folder}"], os.environ)
    return folder / "build"


@pytest.fixture(scope="session")
def builds(sam: Path, built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The artifacts by the Architecture that the build was given: the plain build's, and those for x86_64."""
    environment = {**os.environ, "PATH": f"{sam}/bin:{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    folder = tmp_path_factory.mktemp("x86_64")
    given = "Architecture=x86_64"
    _run(["sam", "build", "--parameter-overrides", given, "--build-dir", str(folder)], environment)
    return {"arm64": built, "x86_64": folder}


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    made = subprocess.run(
        command,
        cwd=CHECKOUT,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert made.returncode == 0, made.stdout
