"""The agent's page names every setting, metric and command, and none that is not there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from podway_agent.__main__ import main
from podway_agent.agent import Agent
from podway_agent.host.disk import StateDirectory
from podway_agent.host.identity import Identity
from podway_agent.host.metrics import exposition
from podway_agent.settings import Settings

PAGE = Path("docs/agent.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def test_every_setting_is_documented_and_no_other() -> None:
    rows = [line.split("|")[1] for line in section("Settings").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}

    assert named == set(Settings.model_fields)


def test_every_metric_is_documented_and_no_other(tmp_path: Path) -> None:
    told = Settings(cluster="demo", table="podway", listen="")
    agent = Agent(
        told, Identity("i-0a", "subnet-a", "192.0.2.1", "", "us-west-2", ""), StateDirectory(tmp_path)
    )

    exposed = set(re.findall(r"^# TYPE (\S+)", exposition(agent.report.metrics()), re.MULTILINE))

    assert exposed == set(re.findall(r"podway_agent_[a-z_]+", section("Pages on loopback")))


def test_every_command_is_documented_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    offered = re.search(r"\{([a-z,]+)\}", capsys.readouterr().out)
    assert offered is not None

    assert set(offered[1].split(",")) == set(re.findall(r"^- `podway-agent ([a-z]+)", PAGE, re.MULTILINE))


def test_every_example_can_be_read_by_what_it_is_for() -> None:
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
    documents = [list(yaml.safe_load_all(text)) for language, text in blocks if language == "yaml"]
    files = [text for language, text in blocks if language == "sh" and "agent.toml <<EOF" in text]

    assert [len(one) for one in documents] == [2, 1]
    (file,) = files
    told = file.partition("agent.toml <<EOF\n")[2].partition("EOF")[0]
    assert Settings.model_validate(tomllib.loads(told)).cluster == "demo"
