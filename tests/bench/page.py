"""A bench report while it is written: every line is printed as soon as it is known, and kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Page:
    """What a section says; its pictures lie beside the report, under names that begin with the section's."""

    name: str
    lines: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)

    def say(self, line: str = "") -> None:
        """One line of Markdown."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        self.lines.append(line)

    def heading(self, text: str) -> None:
        """A heading below the page's title."""
        self._paragraph()
        self.say(f"## {text}")
        self.say()

    def table(self, *columns: str) -> None:
        """The head of a table; rows follow."""
        self._paragraph()
        self.say("| " + " | ".join(columns) + " |")
        self.say("|" + "---|" * len(columns))

    def row(self, *cells: object) -> None:
        """Floats with three digits, whole numbers in thousands, everything else as it is."""
        self.say("| " + " | ".join(map(_shown, cells)) + " |")

    def picture(self, name: str, svg: str, about: str) -> None:
        """A plot; *about* is what somebody reads who does not see it."""
        file = f"{self.name}-{name}.svg"
        self.pictures[file] = svg
        self._paragraph()
        self.say(f"![{about}]({file})")

    def _paragraph(self) -> None:
        if self.lines and self.lines[-1]:
            self.say()

    def write(self, folder: Path) -> None:
        """The report and its pictures."""
        folder.mkdir(parents=True, exist_ok=True)
        for file, svg in self.pictures.items():
            (folder / file).write_text(svg, encoding="utf-8")
        (folder / f"{self.name}.md").write_text("\n".join(self.lines) + "\n", encoding="utf-8")


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if abs(cell) < 1000 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
