"""The wheel in fresh virtual environments: it brings what it needs, and takes nothing from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

from tests import limits
from tests.unit.wire.documents import GOOD

CHECKOUT = Path(__file__).parents[3]
SOURCES = "podway_lab/sources/"
IMPORT_ALL = """
import importlib, json, pkgutil, sys
failed = {}
for name in sys.argv[1:]:
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, name + "."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            failed[module.name] = error.name
print(json.dumps(failed))
"""


def run(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run *command* in *folder*; no variable leads it back to the checkout or to AWS."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "NO_SKIPS") if key in os.environ}
    return subprocess.run(command, cwd=folder, env=kept, check=False, text=True, capture_output=True)


pytestmark = [pytest.mark.index, limits.long]


def install(folder: Path, what: str) -> Path:
    """Install *what*, in the pinned versions, into a new environment in *folder*; where its commands are."""
    pinned = re.findall(
        r"^[\w.-]+==.*?(?= \\$)", (CHECKOUT / "requirements" / "lab.txt").read_text(), re.MULTILINE
    )
    (folder / "constraints.txt").write_text("\n".join(pinned))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    commands = folder / "venv" / "bin"
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        commands / "python",
        "--quiet",
        "--disable-pip-version-check",
    ]
    asked: list[str | Path] = ["install", "--no-compile", "--constraint", folder / "constraints.txt", what]
    subprocess.run([*pip, *asked], check=True, cwd=folder)
    return commands


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, as ``make wheel`` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        ["make", "--old-file=.venv/.complete", "wheel", f"DIST={folder}"], cwd=CHECKOUT, check=True
    )
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def plain(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands where the wheel was installed without an extra."""
    return install(tmp_path_factory.mktemp("plain"), str(wheel))


@pytest.fixture(scope="module")
def lab(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands where the wheel was installed with the lab."""
    return install(tmp_path_factory.mktemp("lab"), f"{wheel}[lab]")


def test_the_command_says_its_version_and_plans(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(json.dumps(GOOD))

    told = run([plain / "podway", "--version"], tmp_path)
    planned = run([plain / "podway", "plan", "-f", "cluster.json"], tmp_path)

    assert told.stdout == f"podway, version {version('podway')}\n", told.stderr
    assert (planned.returncode, planned.stderr) == (1, ""), "there are steps"
    assert "100.64." in planned.stdout


def test_without_an_extra_all_but_the_functions_entrance_can_be_imported(plain: Path, tmp_path: Path) -> None:
    said = run([plain / "python", "-c", IMPORT_ALL, "podway", "podway_agent"], tmp_path)

    assert json.loads(said.stdout) == {"podway.handling": "aws_lambda_powertools"}, said.stderr


def test_the_agent_starts(plain: Path, tmp_path: Path) -> None:
    assert run([plain / "podway-agent", "--help"], tmp_path).returncode == 0


def test_without_its_extra_the_lab_says_which_one_it_needs(plain: Path, tmp_path: Path) -> None:
    said = run([plain / "podway-lab", "demo"], tmp_path)

    assert said.returncode == 2
    assert "podway[lab]" in said.stderr


def test_with_the_lab_everything_can_be_imported_and_lies_outside_the_checkout(
    lab: Path, tmp_path: Path
) -> None:
    said = run([lab / "python", "-c", IMPORT_ALL, "podway", "podway_agent", "podway_lab"], tmp_path)
    where = run([lab / "python", "-c", "from podway_lab import sources; print(sources.TEMPLATE)"], tmp_path)

    assert json.loads(said.stdout) == {}, said.stderr
    assert where.stdout.startswith(str(lab.parent)), where.stderr


def test_the_demo_comes_true_from_the_wheel(lab: Path, tmp_path: Path) -> None:
    played = run([lab / "podway-lab", "demo"], tmp_path)

    assert played.returncode == 0, played.stdout + played.stderr
    assert "no breach of I1 to I4" in played.stdout
    assert "NO_SKIPS" not in os.environ or "no packets here" not in played.stdout


def test_the_deployed_lab_says_that_it_needs_a_checkout(lab: Path, tmp_path: Path) -> None:
    played = run([lab / "podway-lab", "demo", "--deployed"], tmp_path)

    assert played.returncode == 2
    assert "run podway-lab from a checkout" in " ".join(played.stdout.split())


def test_by_way_of_an_sdist_the_wheel_is_the_same(wheel: Path, tmp_path: Path) -> None:
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=CHECKOUT, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, sdist], cwd=tmp_path, check=True)
    (second,) = tmp_path.glob("*.whl")

    assert content(second) == content(wheel)


def test_the_wheel_holds_copies_of_what_the_repository_holds(wheel: Path) -> None:
    held = content(wheel)
    wanted = [
        "template.yaml",
        *(str(one.relative_to(CHECKOUT)) for one in CHECKOUT.glob("functions/*/app.py")),
    ]
    scenarios = {f"scenarios/{one.name}": one for one in CHECKOUT.glob("tests/scenarios/*.scenario")}
    expected = {name: CHECKOUT / name for name in wanted} | scenarios

    assert len(wanted) == 4
    assert {name.removeprefix(SOURCES) for name in held if name.startswith(SOURCES)} - {"__init__.py"} == (
        expected.keys()
    )
    assert all(held[f"{SOURCES}{name}"] == path.read_bytes() for name, path in expected.items())


def content(wheel: Path) -> dict[str, bytes]:
    """Its files by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
