"""The CNI configuration. It makes the node ready for pods, and is therefore the last thing written.

Dataplane writes it, uninstall removes it, doctor and agent read which blocks it names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podway.domain.addressing import Prefix
from podway.wire.snapshot import Snapshot

from podway_agent.host.disk import sync_directory, write_atomically
from podway_agent.kernel.membership import own_blocks, own_member

FILE = "10-podway.conflist"
"""The runtime takes the first file by name."""
ARRIVING = ".10-podway.new"
"""The file before it has its name; runtimes read names that end in .conflist, .conf or .json only."""
NETWORK = "podway"
"""Must never change: host-local keeps addresses in use under it."""
DEFAULT_ROUTE = {4: "0.0.0.0/0", 6: "::/0"}
MAX_MTU_BYTES = 9001


def conflist(blocks: Sequence[Prefix], *, data_dir: Path, mtu: int) -> dict[str, Any]:
    """The configuration for the standard plugins.

    ``ptp``, since ``bridge`` fails on a second block. All blocks of a family in one range set:
    host-local fills one after the other, and a pod gets one address of each family.
    """
    families = [[b for b in sorted(blocks) if b.version == version] for version in (4, 6)]
    ipam = {
        "type": "host-local",
        "dataDir": str(data_dir),
        "ranges": [[{"subnet": str(block)} for block in family] for family in families if family],
        "routes": [{"dst": DEFAULT_ROUTE[family[0].version]} for family in families if family],
    }
    return {
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "plugins": [
            {"type": "ptp", "ipMasq": False, "mtu": mtu, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
            {"type": "bandwidth", "capabilities": {"bandwidth": True}},
        ],
    }


def ready_blocks(snapshot: Snapshot, instance: str) -> tuple[Prefix, ...]:
    """The node's blocks that pods may use: the control plane says that every table covers them."""
    member = own_member(snapshot, instance)
    if member is None or member.state != "ready":
        return ()
    return tuple(sorted(block.cidr for block in member.blocks if block.ready))


def ensure_conflist(directory: Path, snapshot: Snapshot, instance: str, *, data_dir: Path, mtu: int) -> bool:
    """Write the configuration if the node is ready for it; whether it is there afterwards. Raises OSError.

    A node that is not (or no longer) ready keeps the file that it has, so that a running node goes on. But
    the file never names a block that is not this node's: pods would get somebody else's addresses.
    """
    path = directory / FILE
    present = _present(path)
    blocks = ready_blocks(snapshot, instance)
    if not blocks:
        if present is None:
            return False
        named = _blocks_in(present)
        blocks = tuple(block for block in named if block in own_blocks(snapshot, instance))
        if blocks == named:
            return True
    if not blocks:
        remove_conflist(directory)
        return False
    wanted = conflist(blocks, data_dir=data_dir, mtu=min(mtu, MAX_MTU_BYTES))
    if present != wanted:
        _write(path, json.dumps(wanted, indent=1) + "\n")
    return True


def _write(path: Path, text: str) -> None:
    """Replace the file so that the runtime reads all of it, once, and does not miss it.

    containerd reads its directory anew when something there is written, renamed or removed, but not
    when a file is created. A file that is moved in from elsewhere counts as created (containerd issue
    11715; seen with 1.6.20: the node stays NotReady). So the file is written beside the directory,
    moved in under a name that nobody reads, and then renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_name(ARRIVING)
    write_atomically(arriving, text.encode(), scratch=path.parent.parent)
    arriving.replace(path)
    sync_directory(path.parent)


def remove_conflist(directory: Path) -> None:
    """Remove our file, if it is there. Raises OSError."""
    for name in (FILE, ARRIVING):
        (directory / name).unlink(missing_ok=True)
    if directory.exists():
        sync_directory(directory)


def blocks_named(directory: Path) -> tuple[Prefix, ...] | None:
    """The blocks that our configuration names; None if there is none."""
    present = _present(directory / FILE)
    return None if present is None else _blocks_in(present)


def _present(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _blocks_in(configuration: dict[str, Any]) -> tuple[Prefix, ...]:
    """The blocks that a configuration of ours names; none if somebody else wrote it."""
    try:
        ranges = configuration["plugins"][0]["ipam"]["ranges"]
        return tuple(sorted(Prefix.parse(part["subnet"]) for family in ranges for part in family))
    except (KeyError, IndexError, TypeError, ValueError):
        return ()
