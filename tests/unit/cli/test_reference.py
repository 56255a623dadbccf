"""The pages on commands and on the Python API say what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import click
import pytest
from podway.cli.main import podway
from podway.domain.model import counted
from podway_lab.__main__ import main as lab

from tests.unit.cli import reference


def test_the_commands_reference_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), (
        "python -m tests.unit.cli.reference writes it anew"
    )


def test_the_example_of_the_python_api_runs_and_prints_what_the_page_says(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = Path("docs/api.md").read_text(encoding="utf-8")
    code, said = re.findall(r"```(?:python|text)\n(.*?)```", text, re.DOTALL)[:2]
    script = tmp_path / "example.py"
    script.write_text(code)

    runpy.run_path(str(script))

    assert capsys.readouterr().out == said


COMMANDS = [podway, *podway.commands.values(), lab, *lab.commands.values()]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: str(one.name))
def test_no_help_has_marks_that_a_terminal_does_not_draw(command: click.Command) -> None:
    said = command.get_help(click.Context(command))

    assert not re.search(r"`|\*\*", said), said


def test_one_of_a_thing_is_not_told_as_many() -> None:
    assert [counted(count, "route") for count in (0, 1, 2)] == ["0 routes", "1 route", "2 routes"]
