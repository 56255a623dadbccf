"""``docs/lab.md`` lists the scenarios."""

from __future__ import annotations

from pathlib import Path

PAGE = Path("docs/lab.md").read_text(encoding="utf-8")


def test_every_scenario_is_on_the_labs_page_with_its_first_sentence() -> None:
    files = sorted(Path("tests/scenarios").glob("*.scenario"))

    assert files
    for file in files:
        told = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"| `{file.name}` | {told} |" in PAGE
