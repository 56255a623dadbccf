"""The pages on commands and on the Python API say what is there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

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
