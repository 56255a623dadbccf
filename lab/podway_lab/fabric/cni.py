"""A CNI runtime: runs a network configuration's plugins for one pod, as containerd would.

Hosts call it to add and remove pods. CNI specification 1.0.0, sections 2 (execution protocol) and 3
(execution of network configurations).
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from podway_lab.fabric.namespace import ADMIN_PATH, Namespace

PLUGIN_PATH = "/usr/lib/cni:/opt/cni/bin"
"""Debian's folder for the plugins, and upstream's."""

STATE = "/var/lib/cni/networks"
"""Where host-local keeps its reservations unless told otherwise."""


Result: TypeAlias = dict[str, Any]
"""A plugin's answer to ADD: interfaces, ips, routes."""


class CniFailed(Exception):
    """A plugin refused; the message is the plugin's own."""


@dataclass(frozen=True)
class Attachment:
    """One pod's interface on one network: what ADD was called with, so that DEL can say the same."""

    host: Namespace
    root: Path
    network: Mapping[str, Any]
    container: str
    pod: Namespace
    capabilities: Mapping[str, Any] = field(default_factory=dict)

    def add(self) -> Result:
        """Run the chain; the last plugin's result. On failure undoes it and raises CniFailed."""
        result: Result | None = None
        try:
            for plugin in self.network["plugins"]:
                result = self._execute("ADD", plugin, result)
        except CniFailed:
            with contextlib.suppress(CniFailed):  # the first failure is the one that matters
                self.delete(None)
            raise
        if result is None:
            raise CniFailed(f"{self.network['name']} has no plugins")
        return result

    def delete(self, result: Result | None) -> None:
        """Run the chain backwards; every plugin gets its turn. Raises CniFailed with the first error."""
        failures = []
        for plugin in reversed(self.network["plugins"]):
            try:
                self._execute("DEL", plugin, result)
            except CniFailed as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    def _execute(self, command: str, plugin: Mapping[str, Any], previous: Result | None) -> dict[str, Any]:
        program = shutil.which(plugin["type"], path=PLUGIN_PATH)
        if program is None:
            raise CniFailed(f"plugin {plugin['type']} is not in {PLUGIN_PATH}")
        done = self.host.run(
            [program],
            text=json.dumps(self._configuration(plugin, previous)),
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": self.container,
                "CNI_NETNS": self.pod.path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": PLUGIN_PATH,
                "PATH": ADMIN_PATH,
            },
        )
        if done.returncode:
            raise CniFailed(f"{plugin['type']} {command}: {complaint(done.stdout) or done.stderr}")
        answer: Result = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer

    def _configuration(self, plugin: Mapping[str, Any], previous: Result | None) -> dict[str, Any]:
        """The plugin's entry of the conflist, completed as the specification says."""
        declared = plugin.get("capabilities", {})
        wanted = {name: value for name, value in self.capabilities.items() if declared.get(name)}
        configuration = {
            **plugin,
            "cniVersion": self.network["cniVersion"],
            "name": self.network["name"],
            **({"prevResult": previous} if previous is not None else {}),
            **({"runtimeConfig": wanted} if wanted else {}),
        }
        if "ipam" in plugin:
            state = Path(plugin["ipam"].get("dataDir", STATE))
            configuration["ipam"] = {**plugin["ipam"], "dataDir": str(self._on_host(state))}
        return configuration

    def _on_host(self, path: Path) -> Path:
        """Instances share this machine's files, so each has its own root for what plugins keep."""
        return path if path.is_relative_to(self.root) else self.root / path.relative_to("/")


def complaint(output: str) -> str:
    """The message in a plugin's error document, or whatever it printed."""
    try:
        error = json.loads(output)
    except ValueError:
        return output.strip()
    return f"{error.get('msg', '')} {error.get('details', '')}".strip()
