"""containerd on a lab node: Debian's own, with its files in a folder of the test's."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Self

from podway_lab.fabric.namespace import ADMIN_PATH, Namespace

from tests import limits
from tests.integration.agent.cri import CGROUP, Runtime

NEEDED = ("containerd", "ctr", "runc", "busybox")
CGROUPS = Path("/sys/fs/cgroup")
PAUSE = "podway.test/pause:1"
IMPORT = ("images", "import", "--snapshotter", "native")
CONFIGURATION = """
version = 2
root = "{home}/root"
state = "{home}/state"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_tcp_service = true
# without CAP_SYS_RESOURCE nobody may lower a process's score, and runc would die of it
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{conf_dir}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
"""


def missing() -> list[str]:
    """The programs that this machine lacks."""
    return [program for program in NEEDED if shutil.which(program, path=ADMIN_PATH) is None]


def _file(name: str, content: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry, io.BytesIO(content)


def write_pause_image(path: Path) -> None:
    """An image of one program that sleeps, as ``docker save`` would write it: no registry is asked."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as rootfs:
        rootfs.add(str(shutil.which("busybox", path=ADMIN_PATH)), "busybox")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/busybox", "sleep", "3600"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as image:
        image.addfile(*_file("layer.tar", layer.getvalue()))
        image.addfile(*_file("config.json", json.dumps(configuration).encode()))
        image.addfile(*_file("manifest.json", json.dumps(manifest).encode()))


class Containerd:
    """A runtime in the network namespace *host*; it and its pods end with the block."""

    def __init__(self, host: Namespace, *, home: Path, conf_dir: Path, image: Path) -> None:
        self.home = home
        home.mkdir(parents=True)
        socket = home / "socket"
        configuration = home / "config.toml"
        configuration.write_text(
            CONFIGURATION.format(home=home, socket=socket, image=PAUSE, conf_dir=conf_dir)
        )
        with (home / "log").open("wb") as log:
            self.daemon = host.popen(
                ["containerd", "--config", configuration], env={"PATH": ADMIN_PATH}, stdout=log, stderr=log
            )
        self.runtime = Runtime(socket)
        self.runtime.network_fault()  # waits until it listens
        self.load(image)

    def load(self, image: Path) -> None:
        """Make an image known. Raises CalledProcessError."""
        socket = self.home / "socket"
        subprocess.run(
            [*("ctr", "--address", socket, "--namespace", "k8s.io"), *IMPORT, image],
            check=True,
            capture_output=True,
            timeout=limits.PATIENCE_SECONDS,
            env={"PATH": ADMIN_PATH},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for sandbox in self.runtime.sandboxes():
                self.runtime.remove(sandbox)
        finally:
            self.runtime.close()
            self.daemon.end()
            for group in (*CGROUPS.glob(CGROUP), *CGROUPS.glob(f"*/{CGROUP}")):
                with contextlib.suppress(OSError):  # another node's pods are still in it
                    group.rmdir()
