"""Removes exactly what the agent put on a node, found by its marks and not by memory.

``podway-agent uninstall`` calls it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable

from podway_agent.host import disk
from podway_agent.kernel import forwarding, routing
from podway_agent.kernel.netlink import Netlink
from podway_agent.kernel.nft import NftFailed, Table
from podway_agent.kernel.routing import Route
from podway_agent.pods import conflist
from podway_agent.probing import paths
from podway_agent.settings import Settings

LIBRARY = "PODWAY_LIBRARY"
"""Variable by which the one-file agent says where it unpacks itself (node_agent/zipapp/bootstrap.py)."""


def uninstall(settings: Settings) -> int:
    """Remove conflist, routes, table and state; 1 if something of it could not be removed.

    The conflist is removed first, so that no pod is made while routes are removed. Switches stay as
    they are: what they were before is not known, and others may rely on them.
    """
    parts: dict[str, Callable[[], None]] = {
        "CNI configuration": lambda: conflist.remove_conflist(settings.cni_conf_dir),
        "probing": paths.remove,
        "routes": remove_routes,
        "FORWARD rules": forwarding.remove_acceptance,
        "nftables table": Table.remove,
        "state": lambda: _remove_state(settings),
    }
    failed = 0
    for name, remove in parts.items():
        try:
            remove()
        except (OSError, NftFailed) as error:
            failed = 1
            print(f"podway-agent: {name}: {error}", file=sys.stderr)  # noqa: T201  (the command's output)
    return failed


def remove_routes() -> None:
    """Remove every route under our protocol number. Raises OSError."""
    with Netlink() as kernel:
        found = routing.main_routes(kernel, protocol=routing.PROTOCOL)
        narrow_first = sorted(found, key=lambda route: -route.key.prefix.length)
        answers = kernel.ask([routing.removing(Route(route.key, route.target)) for route in narrow_first])
    if refused := next(filter(None, answers), None):
        raise refused


def _remove_state(settings: Settings) -> None:
    for name in (disk.SNAPSHOT, disk.IDENTITY, disk.STATUS):
        (settings.state_dir / name).unlink(missing_ok=True)
    if library := os.environ.get(LIBRARY):
        shutil.rmtree(library)
