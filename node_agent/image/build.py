"""Builds the agent's container image without a container engine: Debian's packages and the zipapp.

``make image`` writes an archive that ``docker load``, ``podman load`` and ``ctr images import`` take.
``mmdebstrap`` (a Debian package) unpacks the packages and runs nothing of them, so any machine builds
for both kinds of node.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "nftables", "iptables", "libc-bin")
PROGRAM = "usr/local/bin/podway-agent"
COMMAND = ["/usr/bin/python3.11", f"/{PROGRAM}"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NEEDLESS = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")


def build(zipapp: Path, target: Path, *, machine: str) -> str:
    """Write the image for *machine* to *target*; its name. Raises CalledProcessError."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    name = f"podway-agent:{version}"
    with tempfile.TemporaryDirectory(prefix="podway-image-") as scratch:
        root = Path(scratch) / "root.tar"
        _unpack_packages(root, ARCHITECTURES[machine])
        with tarfile.open(root, "a") as layer:
            _add(layer, PROGRAM, zipapp.read_bytes(), mode=0o755)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, root, name=name, machine=machine, command=COMMAND)
    return name


def _unpack_packages(root: Path, architecture: str) -> None:
    subprocess.run(  # noqa: S603  (a fixed program)
        [
            *("mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"),
            *(f"--dpkgopt=path-exclude={path}" for path in NEEDLESS),
            *(f"--include={','.join(PACKAGES)}", SUITE, str(root)),
        ],
        check=True,
    )


def write_image(target: Path, root: Path, *, name: str, machine: str, command: list[str]) -> None:
    """One layer, *root*, in the form that ``docker save`` writes."""
    layer = f"{_digest(root)}.tar"
    configuration = {
        "architecture": ARCHITECTURES[machine],
        "os": "linux",
        "config": {"Entrypoint": command, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(root)}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [layer]}]
    with tarfile.open(target, "w") as image:
        image.add(root, layer)
        for file, content in (("config.json", configuration), ("manifest.json", manifest)):
            _add(image, file, json.dumps(content).encode())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    zipapp, target, machine = sys.argv[1:]
    made = build(Path(zipapp), Path(target), machine=machine)
    sys.stdout.write(f"{target}: {made} for {machine}, {Path(target).stat().st_size / 1e6:.0f} MB\n")
