"""``make bench``: measure, print, and write a report per section to ``docs/bench``.

python -m tests.bench [NAME ...]     (all sections by default; a section is a module of tests/bench/sections
with ``TITLE: str`` and ``measure(page: Page) -> None``)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from tests.bench.page import Page
from tests.provenance import DOCS, modules_in, provenance


def main(names: Sequence[str]) -> int:
    """Measure the sections of these names; 2 if there is none of a name."""
    known = modules_in("bench/sections")
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.stderr.write(f"bench: no section {', '.join(unknown)}; there are {', '.join(known)}\n")
        return 2
    for name in names or known:
        section = import_module(f"tests.bench.sections.{name}")
        page = Page(name)
        page.say(f"# {section.TITLE}")
        page.say()
        page.say(f"Written by `make bench ONLY={name}` {provenance()}; ratios travel, seconds do not.")
        section.measure(page)
        page.write(DOCS / "bench")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
