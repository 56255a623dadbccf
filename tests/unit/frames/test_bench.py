"""The frame of ``make bench``: sections by name, a report and its pictures for each."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.bench import __main__ as frame
from tests.bench.page import Page
from tests.provenance import modules_in


def test_a_section_becomes_a_page_with_its_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(page: Page) -> None:
        page.heading("Figures")
        page.table("what", "how much")
        page.row("small", 0.12345)
        page.row("large", 12_345)
        page.picture("curve", "<svg/>", "a curve")

    section = type("Section", (), {"TITLE": "A section", "measure": staticmethod(measure)})
    monkeypatch.setattr(frame, "modules_in", lambda _: ["some"])
    monkeypatch.setattr(frame, "import_module", lambda _: section)
    monkeypatch.setattr(frame, "DOCS", tmp_path)

    assert frame.main([]) == 0

    page = (tmp_path / "bench" / "some.md").read_text()
    assert page.startswith("# A section\n\nWritten by `make bench ONLY=some` on ")
    assert (
        "\n\n## Figures\n\n| what | how much |\n|---|---|\n| small | 0.123 |\n| large | 12,345 |\n\n" in page
    )
    assert page.endswith("![a curve](some-curve.svg)\n")
    assert (tmp_path / "bench" / "some-curve.svg").read_text() == "<svg/>"


def test_a_section_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.main(["nonsense"]) == 2
    assert "no section nonsense" in capsys.readouterr().err


def test_every_section_can_be_called() -> None:
    for name in modules_in("bench/sections"):
        section = import_module(f"tests.bench.sections.{name}")
        assert section.TITLE
        assert callable(section.measure)
