"""The addresses that ``host-local`` gives to pods on the agent's conflist: never one that the agent holds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from podway_agent.kernel.membership import probe_address
from podway_agent.pods.conflist import conflist
from podway_lab.fabric.cni import PLUGIN_PATH

from tests.unit.agent.snapshots import prefixes

pytestmark = pytest.mark.fabric

BLOCKS = prefixes(["100.64.0.8/29", "100.64.9.16/29"])
PROBED = [probe_address(block).first_address for block in BLOCKS]
ROOM = [f"100.64.0.{last}" for last in range(10, 15)] + [f"100.64.9.{last}" for last in range(18, 23)]


@pytest.fixture
def configuration(tmp_path: Path) -> dict[str, Any]:
    """What the runtime hands to the plugin."""
    whole = conflist(BLOCKS, data_dir=tmp_path, mtu=9001)
    return {"cniVersion": whole["cniVersion"], "name": whole["name"], **whole["plugins"][0]}


def ask(command: str, configuration: dict[str, Any], pod: int, wish: str = "") -> list[str]:
    """The addresses that a pod is given; none when the plugin refuses, or takes them back."""
    plugin = shutil.which("host-local", path=PLUGIN_PATH)
    assert plugin is not None
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": f"pod{pod}",
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGIN_PATH,
        "CNI_ARGS": f"IgnoreUnknown=1;IP={wish}" if wish else "",
    }
    text = json.dumps(configuration)
    done = subprocess.run([plugin], input=text, env=environment, capture_output=True, text=True, check=False)
    told = json.loads(done.stdout) if done.stdout else {}
    return [one["address"].partition("/")[0] for one in told.get("ips", ())]


def test_a_block_that_is_filled_and_emptied_again_never_gives_out_its_probe_address(
    configuration: dict[str, Any],
) -> None:
    given: list[str] = []
    for pod in range(3 * len(ROOM)):
        given += ask("ADD", configuration, pod)
        if pod >= len(ROOM) - 1:
            ask("DEL", configuration, pod - len(ROOM) + 1)

    assert given == 3 * ROOM
    assert not set(given) & set(PROBED)


@pytest.mark.parametrize("probed", PROBED)
def test_who_asks_for_a_probe_address_does_not_get_it(configuration: dict[str, Any], probed: str) -> None:
    assert ask("ADD", configuration, 1, ROOM[3]) == [ROOM[3]]
    assert ask("ADD", configuration, 2, probed) == []
