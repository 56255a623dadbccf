"""The one-file agent unpacks itself once, where only its owner can write."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from node_agent.zipapp import bootstrap

SPEAKS = "def main():\n    print('hello from', __file__)\n    return 7\n"


def archive(path: Path, *, build: str = "b1", native: str = "") -> Path:
    """A file as ``build.py`` makes it, of one module that speaks."""
    with zipfile.ZipFile(path, "w") as made:
        made.write(bootstrap.__file__, "__main__.py")
        made.writestr("BUILD", build)
        made.writestr("RUNS_ON", "a better machine")
        made.writestr("lib/podway_agent/__init__.py", "")
        made.writestr("lib/podway_agent/__main__.py", SPEAKS)
        made.writestr(f"native/{native or bootstrap.kind()}/compiled.py", "")
        made.writestr("native/cp39-vax/compiled.py", "")
    return path


def run(path: Path, library: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PODWAY_LIBRARY": str(library)}
    return subprocess.run(
        [sys.executable, path], env=environment, capture_output=True, text=True, check=False
    )


def builds(library: Path) -> list[str]:
    return sorted(path.name for path in library.iterdir())


def test_it_runs_what_it_unpacked_and_gives_its_exit_status(tmp_path: Path) -> None:
    done = run(archive(tmp_path / "agent.pyz"), tmp_path / "lib")

    place = tmp_path / "lib" / f"b1-{bootstrap.kind()}"
    assert (done.returncode, done.stdout) == (7, f"hello from {place}/lib/podway_agent/__main__.py\n")
    assert [path.name for path in (place / "native").iterdir()] == [bootstrap.kind()]


def test_it_unpacks_once(tmp_path: Path) -> None:
    path, library = archive(tmp_path / "agent.pyz"), tmp_path / "lib"
    run(path, library)
    (library / f"b1-{bootstrap.kind()}" / "lib" / "podway_agent" / "__main__.py").write_text(
        "def main(): return 8"
    )

    assert run(path, library).returncode == 8
    assert builds(library) == [f"b1-{bootstrap.kind()}"]


def test_what_others_can_write_is_not_run(tmp_path: Path) -> None:
    path, library = archive(tmp_path / "agent.pyz"), tmp_path / "lib"
    run(path, library)
    library.chmod(0o777)

    refused = run(path, library)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "can be written by others" in refused.stderr


def test_another_machine_is_told_what_it_runs_on(tmp_path: Path) -> None:
    refused = run(archive(tmp_path / "agent.pyz", native="cp39-pdp11"), tmp_path / "lib")

    assert refused.returncode == 64
    assert "this file runs on a better machine, not Python 3." in refused.stderr
    assert not (tmp_path / "lib").exists()


def test_a_new_build_stands_beside_the_old_and_the_one_before_that_goes(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    for number in range(3):
        assert run(archive(tmp_path / "agent.pyz", build=f"b{number}"), library).returncode == 7
        os.utime(library / f"b{number}-{bootstrap.kind()}", (number, number))

    assert builds(library) == [f"b1-{bootstrap.kind()}", f"b2-{bootstrap.kind()}"]


def test_a_start_that_was_killed_half_way_is_no_hindrance(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    (library / f".b1-{bootstrap.kind()}.1").mkdir(parents=True)

    assert run(archive(tmp_path / "agent.pyz"), library).returncode == 7


@pytest.mark.parametrize(
    ("environ", "user", "place"),
    [
        ({"PODWAY_LIBRARY": "/x"}, 0, "/x"),
        ({}, 0, "/var/lib/podway/lib"),
        ({"XDG_CACHE_HOME": "/c"}, 1000, "/c/podway"),
        ({"HOME": "/h"}, 1000, "/h/.cache/podway"),
    ],
)
def test_where_builds_are_unpacked(
    environ: dict[str, str], user: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PODWAY_LIBRARY", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert bootstrap.home() == Path(place)
