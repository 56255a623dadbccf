"""Builds ``podway-agent.pyz``: the agent with all that it needs, in one file (``make agent``).

Runs on each Python and machine that it names; the node needs only an interpreter. The same sources
give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "agent.txt"
SOURCES = (
    (ROOT / "node_agent" / "src", "podway_agent"),
    *((ROOT / "layers" / "podway" / "src", part) for part in ("podway/domain", "podway/wire")),
    (ROOT / "layers" / "podway" / "src", "podway/__init__.py"),
)
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
COMPILED = "pydantic-core"
"""The one dependency that is compiled, per Python and machine."""
UNUSED = ("botocore/data", "bin", "__pycache__", "sboms", "RECORD")
"""Above all the SDK's models of all services: the agent signs its own requests."""
EPOCH = (1980, 1, 1, 0, 0, 0)
INTERPRETER = b"#!/usr/bin/env python3\n"


def build(target: Path, *, machines: Sequence[str] = MACHINES) -> Path:
    """Write the archive for *machines* to *target*.

    Raises CalledProcessError when pip cannot find a pinned file.
    """
    with tempfile.TemporaryDirectory(prefix="podway-zipapp-") as scratch:
        content = Path(scratch)
        alone = content / "requirements.txt"
        alone.write_text(_pinned(COMPILED, REQUIREMENTS.read_text()))
        with ThreadPoolExecutor() as several:  # pip waits for the index most of the time
            everything = {"python": PYTHONS[-1], "machine": machines[0]}
            work = [several.submit(_install, REQUIREMENTS, content / "lib", **everything)]
            for python, machine in product(PYTHONS, machines):
                folder = content / "native" / f"cp{python.replace('.', '')}-{machine}"
                work.append(several.submit(_install, alone, folder, python=python, machine=machine))
        for installed in work:
            installed.result()
        alone.unlink()
        shutil.rmtree(content / "lib" / COMPILED.replace("-", "_"))
        _add_sources(content / "lib")
        _drop_unused(content)
        (content / "RUNS_ON").write_text(f"Python {', '.join(PYTHONS)} on Linux, {' or '.join(machines)}")
        shutil.copy(Path(__file__).with_name("bootstrap.py"), content / "__main__.py")
        (content / "BUILD").write_text(_digest(content))
        _write(content, target)
    return target


def _install(requirements: Path, folder: Path, *, python: str, machine: str) -> None:
    """Put the pinned wheels into *folder*; nothing is built or run."""
    platforms = [f"--platform=manylinux{kind}_{machine}" for kind in ("_2_17", "2014", "_2_28")]
    subprocess.run(  # noqa: S603  (this interpreter's own pip)
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"),
            *(*platforms, f"--python-version={python}", "--implementation=cp"),
            *(f"--target={folder}", f"--requirement={requirements}"),
        ],
        check=True,
    )


def _pinned(name: str, requirements: str) -> str:
    """The lines that pin one package."""
    found = re.search(rf"^{name}==(?:.*\\\n)*.*\n", requirements, re.MULTILINE)
    if found is None:
        raise LookupError(f"{name} is not in {REQUIREMENTS}")
    return found[0]


def _add_sources(library: Path) -> None:
    for base, part in SOURCES:
        if (base / part).is_dir():
            shutil.copytree(base / part, library / part)
        else:
            (library / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(base / part, library / part)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    facts = library / f"podway-{version}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: podway\nVersion: {version}\n")


def _drop_unused(content: Path) -> None:
    for unused in UNUSED:
        for path in list(content.rglob(unused)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _files(content: Path) -> Iterator[Path]:
    return (path for path in sorted(content.rglob("*")) if path.is_file())


def _digest(content: Path) -> str:
    """Names the build: two builds of the same content have one name."""
    digest = hashlib.sha256()
    for path in _files(content):
        body = path.read_bytes()
        digest.update(f"{path.relative_to(content)} {len(body)}\n".encode() + body)
    return digest.hexdigest()[:16]


def _write(content: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.write(INTERPRETER)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in _files(content):
                entry = zipfile.ZipInfo(str(path.relative_to(content)), EPOCH)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
    target.chmod(0o755)


if __name__ == "__main__":
    made = build(Path(sys.argv[1]), machines=sys.argv[2:] or MACHINES)
    with zipfile.ZipFile(made) as archive:
        runs_on = archive.read("RUNS_ON").decode()
    sys.stdout.write(f"{made}: {made.stat().st_size / 1e6:.1f} MB, runs on {runs_on}\n")
