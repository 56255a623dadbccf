"""Tables and links of every page are whole: GitHub cuts cells off and leads nowhere without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGES = sorted([*Path().glob("*.md"), *Path("docs").rglob("*.md")])
FOLDERS = ("docs", "functions", "lab", "layers", "node_agent", "tests")
SPEAKING = {".md", ".py", ".scenario", ".toml", ".yaml"}
MADE_UP = {Path("tests/unit/frames")}
"""Its tests write pages of their own."""
RULER = re.compile(r"\|(\s*:?-+:?\s*\|)+")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines outside of fenced blocks."""
    is_fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif not is_fenced:
            yield number, line


def cells(row: str) -> int:
    """How many cells GitHub sees: a bar inside backticks divides too, unless a backslash is before it."""
    return len(re.findall(r"(?<!\\)\|", row.strip())) - 1


def uneven(page: Path) -> Iterator[str]:
    wanted, before = 0, ""
    for number, line in prose(page):
        if RULER.fullmatch(line.strip()):
            wanted = cells(before)
        elif not line.lstrip().startswith("|"):
            wanted = 0
        if wanted and cells(line) != wanted:
            yield f"line {number} has {cells(line)} cells, its header {wanted}"
        before = line


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    titles = (line.lstrip("#").strip().lower() for _, line in prose(page) if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def broken(page: Path) -> Iterator[str]:
    for number, line in prose(page):
        for link in re.findall(r"\]\(([^)\s]+)\)", line):
            name, _, anchor = link.partition("#")
            if name.startswith(("http:", "https:")):
                continue
            target = (page.parent / name) if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                yield f"line {number}: {link}"


def test_the_pages_are_found() -> None:
    assert {Path("README.md"), Path("docs/faults.md"), Path("docs/contract/README.md")} <= {*PAGES}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_row_of_a_table_has_its_headers_number_of_cells(page: Path) -> None:
    assert list(uneven(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_to_a_page_of_ours_leads_there(page: Path) -> None:
    assert list(broken(page)) == []


def test_no_text_names_a_page_that_is_not_here() -> None:
    """Nobody who has only the repository could look it up."""
    texts = [*Path().glob("*.*"), *(one for folder in FOLDERS for one in Path(folder).rglob("*"))]
    read = [one for one in texts if one.suffix in SPEAKING and one.is_file() and one.parent not in MADE_UP]
    here = {page.name for page in PAGES}

    named = {
        f"{text}: {page}"
        for text in read
        for page in re.findall(r"[\w-]+[.]md\b", text.read_text(encoding="utf-8"))
        if page not in here
    }

    assert len(read) > 400
    assert named == set()
