"""The systemd unit: hardened as documented, and in step with the agent's own defaults."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from podway_agent.__main__ import BAD_SETTINGS
from podway_agent.agent import STOP_SECONDS
from podway_agent.settings import DEFAULT_FILE, Settings
from podway_agent.telemetry import HUNG_SECONDS

UNIT = Path("node_agent/systemd/podway-agent.service")
PAGE = Path("docs/agent.md").read_text(encoding="utf-8")
DEFAULTS = Settings(cluster="demo", table="podway")


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    parser = ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    parser.read(UNIT)
    return dict(parser["Service"])


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        assert not os.environ.get("NO_SKIPS"), "no systemd-analyze here"
        pytest.skip("no systemd-analyze here")
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_is_as_hard_as_the_page_says() -> None:
    said = re.search(r"rates its exposure ([\d.]+) of 10", PAGE)
    assert said is not None

    rated = analyze("security", "--offline=true", str(UNIT))

    found = re.search(r"exposure level for \S+: ([\d.]+)", rated.stdout)
    assert found is not None, rated.stderr
    # other versions of systemd weigh differently
    assert float(found[1]) <= float(said[1]) + 0.3


def test_systemd_understands_all_of_it(tmp_path: Path) -> None:
    runnable = tmp_path / UNIT.name
    runnable.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.MULTILINE)
    )

    verified = analyze("verify", "--man=no", str(runnable))

    complaints = [line for line in verified.stderr.splitlines() if runnable.name in line]
    assert complaints == []


def test_it_may_write_where_the_agent_writes(service: dict[str, str]) -> None:
    writable = [Path(path) for path in service["ReadWritePaths"].split()]
    writable.append(Path("/var/lib") / service["StateDirectory"])

    for path in (DEFAULTS.state_dir, DEFAULTS.cni_conf_dir.parent):
        assert any(path.is_relative_to(place) for place in writable), path
    assert not any(DEFAULT_FILE.is_relative_to(place) for place in writable)


def test_its_numbers_are_the_agents_own(service: dict[str, str]) -> None:
    assert service["RestartPreventExitStatus"] == str(BAD_SETTINGS)
    assert float(service["WatchdogSec"]) >= HUNG_SECONDS
    assert float(service["TimeoutStopSec"]) > 2 * STOP_SECONDS  # for the store, and for the disk
    assert service["Type"] == "notify"
    assert service["Restart"] == "always"


def test_it_keeps_two_of_roots_powers(service: dict[str, str]) -> None:
    assert service["CapabilityBoundingSet"].split() == ["CAP_NET_ADMIN", "CAP_NET_RAW"]
    assert service["NoNewPrivileges"] == "yes"
