from __future__ import annotations

from pathlib import Path

import pytest
from podway.domain.addressing import Prefix
from podway_agent.settings import BadSettings, read_settings

ENOUGH = {"PODWAY_AGENT_CLUSTER": "demo", "PODWAY_AGENT_TABLE": "podway"}


def test_the_environment_alone_is_enough() -> None:
    settings = read_settings(ENOUGH)

    assert (settings.cluster, settings.table) == ("demo", "podway")
    assert settings.state_dir == Path("/var/lib/podway")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("agent.toml", 'cluster = "demo"\ntable = "other"\n'),
        ("agent.json", '{"cluster":"demo","table":"other"}'),
    ],
)
def test_a_variable_is_stronger_than_the_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    assert read_settings({}, path).table == "other"
    assert read_settings({"PODWAY_AGENT_TABLE": "podway"}, path).table == "podway"


def test_lists_in_variables_have_commas() -> None:
    settings = read_settings({**ENOUGH, "PODWAY_AGENT_KEEP_SOURCE_TOWARDS": "10.0.0.0/16, 10.1.0.0/16"})

    assert settings.keep_source_towards == (Prefix.parse("10.0.0.0/16"), Prefix.parse("10.1.0.0/16"))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "cluster"),
        ({**ENOUGH, "PODWAY_AGENT_CLUSTR": "x"}, "PODWAY_AGENT_CLUSTR"),
        ({**ENOUGH, "PODWAY_AGENT_LISTEN": "0.0.0.0:9469"}, "listen"),
        ({**ENOUGH, "PODWAY_AGENT_POLL_FAST_SECONDS": "0"}, "poll_fast_seconds"),
        ({**ENOUGH, "PODWAY_AGENT_KEEP_SOURCE_TOWARDS": "10.0.0.1/16"}, "host bits"),
        ({**ENOUGH, "PODWAY_AGENT_ROLE_ID": "arn:aws:iam::1:role/x"}, "role_id"),
    ],
)
def test_a_fault_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(BadSettings, match=named):
        read_settings(environ)


@pytest.mark.parametrize(
    ("text", "named"),
    [("cluster = ", "agent.toml"), ('cluster = "a"\ntable = "podway"\ncolour = "red"\n', "colour")],
)
def test_a_fault_of_the_file_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(text)

    with pytest.raises(BadSettings, match=named):
        read_settings({}, path)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="No such file"):
        read_settings(ENOUGH, tmp_path / "absent.toml")
