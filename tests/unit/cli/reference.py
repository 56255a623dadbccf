"""The commands' reference, made of what they say of themselves.

``python -m tests.unit.cli.reference`` writes the second half of docs/commands.md anew; a test fails while
it is out of date.
"""

from __future__ import annotations

from pathlib import Path

import click
from podway.cli.main import podway

PAGE = Path("docs/commands.md")
MARK = "<!-- What follows is written by "
WIDTH = 100


def page() -> str:
    """The whole page: as it is down to the mark, and from there on as the commands are."""
    kept, mark, rest = PAGE.read_text(encoding="utf-8").partition(MARK)
    parts = [kept, mark, rest.partition("\n")[0], "\n"]
    group = click.Context(podway, info_name="podway", **podway.context_settings)
    for name, command in podway.commands.items():
        context = click.Context(
            command, parent=group, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH
        )
        parts.append(f"\n## podway {name}\n\n```text\n{context.get_help()}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
