"""The agent in one file: built as ``make agent`` does, run by every Python that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
from podway_lab.fabric.namespace import new_namespace

from tests import limits
from tests.lab.conftest import _namespaces, pytest_configure

__all__ = ["_namespaces", "pytest_configure"]

pytestmark = limits.long

VERSIONS = ("3.11", "3.12", "3.13")
SETTINGS = {
    "PODWAY_AGENT_CLUSTER": "demo",
    "PODWAY_AGENT_TABLE": "podway",
    "PODWAY_AGENT_REGION": "us-west-2",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}


def interpreters() -> dict[str, str]:
    """The Pythons of this machine by version; a name may be a shim that fails, so they are run."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    homes = [Path("/usr/bin"), Path("/usr/local/bin"), *pyenv.glob("versions/*/bin")]
    found = {f"{sys.version_info.major}.{sys.version_info.minor}": sys.executable}
    for version, home in product(VERSIONS, homes):
        candidate = home / f"python{version}"
        if version not in found and candidate.exists() and runs(candidate):
            found[version] = str(candidate)
    return found


def runs(python: Path) -> bool:
    return not subprocess.run(
        [python, "-c", "import ssl, ctypes"], capture_output=True, check=False
    ).returncode


PYTHONS = interpreters()


def surroundings(library: Path) -> dict[str, str]:
    """The environment of a node on which nothing is the machine's own."""
    home = library.parent
    return {
        **SETTINGS,
        "PATH": os.environ["PATH"],
        "PODWAY_LIBRARY": str(library),
        "PODWAY_AGENT_STATE_DIR": str(home / "state"),
        "PODWAY_AGENT_CNI_CONF_DIR": str(home / "net.d"),
        "PODWAY_AGENT_CNI_DATA_DIR": str(home / "addresses"),
    }


@pytest.mark.fabric
@pytest.mark.parametrize("version", VERSIONS)
def test_it_runs_on_this_python_with_nothing_installed(version: str, archive: Path, tmp_path: Path) -> None:
    if version not in PYTHONS:
        assert not os.environ.get("NO_SKIPS"), f"no Python {version} here"
        pytest.skip(f"no Python {version} here")
    library = tmp_path / "lib"
    # without site-packages: what is not in the file cannot be imported
    command = [PYTHONS[version], "-I", "-S", str(archive)]
    with new_namespace() as node:
        shown = node.run(
            [*command, "--help"], env={"PATH": os.environ["PATH"], "PODWAY_LIBRARY": str(library)}
        )
        checked = node.run([*command, "check", "--json"], env=surroundings(library))
        removed = node.run([*command, "uninstall"], env=surroundings(library))

    assert "usage: podway-agent" in shown.stdout, shown.stderr
    assert checked.returncode == 2, checked.stderr
    assert "identity" in {finding["subject"] for finding in json.loads(checked.stdout)}
    assert removed.returncode == 0, removed.stderr
    assert not library.exists()
