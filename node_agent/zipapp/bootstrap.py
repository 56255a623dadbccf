"""``__main__`` of the agent's zipapp: unpacks it once, and runs what was unpacked.

Compiled modules and certificates cannot be used from inside an archive. They go where nobody but
the user who runs this can write, or the next start would run somebody else's code.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import zipfile
from pathlib import Path

UNUSABLE = 64
"""EX_USAGE, as for faulty settings: the unit does not try again."""
LIBRARY = "PODWAY_LIBRARY"
"""Variable that names the folder of unpacked builds; uninstall reads it too."""
KEPT = 1
"""Builds kept beside the new one: one may still run."""


def home() -> Path:
    """Where builds are unpacked: as told, root's state directory, or the user's cache."""
    if told := os.environ.get(LIBRARY):
        return Path(told)
    if os.geteuid() == 0:
        return Path("/var/lib/podway/lib")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podway"


def kind() -> str:
    """Which compiled modules this interpreter and machine need."""
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform.machine()}"


def is_private(place: Path) -> bool:
    """Whether only we can write there."""
    facts = place.lstat()
    return facts.st_uid == os.geteuid() and not facts.st_mode & 0o022 and not place.is_symlink()


def unpacked(archive: zipfile.ZipFile, build: str, under: Path) -> Path:
    """The folder that holds this build, unpacked now if it is not there. Raises OSError."""
    under.mkdir(parents=True, exist_ok=True)
    place = under / f"{build}-{kind()}"
    if not place.exists():
        os.umask(0o022)
        arriving = under / f".{place.name}.{os.getpid()}"
        shutil.rmtree(arriving, ignore_errors=True)
        wanted = [name for name in archive.namelist() if name.startswith(("lib/", f"native/{kind()}/"))]
        archive.extractall(arriving, wanted)
        try:
            arriving.rename(place)
        except OSError:  # another one of us was faster
            shutil.rmtree(arriving)
            if not place.exists():
                raise
        forget_old(under, place)
    for folder in (under, place):
        if not is_private(folder):
            raise PermissionError(f"{folder} can be written by others, or is not ours")
    return place


def forget_old(under: Path, newest: Path) -> None:
    """Remove all builds for this interpreter but the newest and the one before."""
    others = [path for path in under.glob(f"*-{kind()}") if path != newest]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)


def main() -> int:
    """Run the agent with this archive's own libraries; its exit status."""
    with zipfile.ZipFile(sys.path[0]) as archive:
        if not any(name.startswith(f"native/{kind()}/") for name in archive.namelist()):
            runs_on = archive.read("RUNS_ON").decode()
            here = f"Python {platform.python_version()} on {platform.machine()}"
            sys.stderr.write(f"podway-agent: this file runs on {runs_on}, not {here}\n")
            return UNUSABLE
        try:
            place = unpacked(archive, archive.read("BUILD").decode(), home())
            os.environ[LIBRARY] = str(place.parent)
        except OSError as error:
            sys.stderr.write(f"podway-agent: cannot unpack: {error}\n")
            return 1
    sys.path[:1] = [str(place / "native" / kind()), str(place / "lib")]
    from podway_agent.__main__ import main as run  # noqa: PLC0415  (only now can it be found)

    return run()


if __name__ == "__main__":
    sys.exit(main())
