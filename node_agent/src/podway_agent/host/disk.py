"""The agent's files on disk: written whole or not at all, and checked when they are read.

Agent, report, store sync and doctor use the state directory; pods and identity write through it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from pathlib import Path
from typing import Any

from podway.wire.snapshot import PackedSnapshot, Snapshot, SnapshotRefused, unpack

log = logging.getLogger(__name__)

SNAPSHOT = "snapshot.json"
IDENTITY = "identity.json"
STATUS = "status.json"


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, scratch: Path | None = None) -> None:
    """Replace *path* by *content*, so that a reader or a power cut sees the old or the new, never a part.

    The temporary file lies in *scratch* (same file system; default: beside *path*). Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = (scratch or path.parent) / f".{path.name}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make a rename or removal inside *path* outlast a power cut."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class StateDirectory:
    """The agent's own directory: identity, last good snapshot, status."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> dict[str, Any] | None:
        """The object in file *name*; None if there is none or it is damaged."""
        try:
            content = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            log.warning("state file unreadable", extra={"file": name, "reason": str(error)})
            return None
        return content if isinstance(content, dict) else None

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replace file *name*. Raises OSError."""
        text = json.dumps(content, indent=1, sort_keys=True, default=str) + "\n"
        write_atomically(self.path / name, text.encode())

    def save_snapshot(self, packed: PackedSnapshot) -> None:
        """Keep the last good snapshot, as the store has it. Raises OSError."""
        fields = {"generation": packed.generation, "epoch": packed.epoch, "checksum": packed.checksum}
        self.write(SNAPSHOT, fields | {"body": base64.b64encode(packed.body).decode()})

    def load_snapshot(self, *, cluster: str, subnet: str) -> Snapshot | None:
        """The last good snapshot; None if there is none, or it is damaged or of another cluster or subnet."""
        fields = self.read(SNAPSHOT)
        if fields is None:
            return None
        try:
            packed = PackedSnapshot(
                generation=fields["generation"],
                epoch=fields.get("epoch", 1),
                checksum=fields["checksum"],
                body=base64.b64decode(fields["body"], validate=True),
            )
            return unpack(packed, cluster=cluster, subnet=subnet)
        except (KeyError, ValueError) as error:
            reason = str(error) if isinstance(error, SnapshotRefused) else f"damaged: {error!r}"
            log.warning("saved snapshot refused", extra={"reason": reason})
            return None
