"""The built artifacts: what `make build` makes, once for all tests that look at it."""

from __future__ import annotations

import os
import subprocess
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
def builds(sam: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the artifacts of each architecture lie."""
    assert sam.exists()
    folder = tmp_path_factory.mktemp("builds")
    command = ["make", "--old-file=.venv/.complete", "build", f"BUILDS={folder}"]
    made = subprocess.run(
        command, cwd=CHECKOUT, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert made.returncode == 0, made.stdout
    return {architecture: folder / f"build-{architecture}" for architecture in ARCHITECTURES}
