"""docs/architecture.md shows the rooms as they are, and the code keeps what the page says of them."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from graphlib import CycleError
from pathlib import Path

import pytest

from tests.unit.architecture import rooms

TEXT = rooms.PAGE.read_text(encoding="utf-8")
PACKAGES = tuple(rooms.SOURCES)
NAMED = sorted(set(re.findall(r"`((?:functions|layers|node_agent|lab|tests|docs)/[\w./-]+)`", TEXT)))


def public_names(path: Path) -> set[str]:
    """What a file defines at its top level for others; a logger of its own is not for others."""
    found = set()
    for one in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(one.name)
        elif isinstance(one, ast.Assign):
            found |= {name.id for to in one.targets for name in ast.walk(to) if isinstance(name, ast.Name)}
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            found.add(one.target.id)
    return {name for name in found if not name.startswith("_") and name != "log"}


def links_of_the_lab() -> set[Path]:
    """What `podway_lab.sources` has as data: the functions are no modules of the lab."""
    return set((rooms.SOURCES["podway_lab"] / "podway_lab" / "sources" / "functions").rglob("*.py"))


def test_the_page_is_current() -> None:
    assert rooms.page() == TEXT, "`make rooms` writes it anew"


def test_no_file_is_overlooked() -> None:
    """A folder without ``__init__`` is in no wheel, and nothing that reads imports sees it."""
    seen = {rooms.path_of(one) for one in rooms.imports().modules}

    assert (
        seen
        == {path for name, source in rooms.SOURCES.items() for path in (source / name).rglob("*.py")}
        - links_of_the_lab()
    )


@pytest.mark.parametrize("package", [*PACKAGES, *rooms.NESTED])
def test_every_file_lies_in_a_room_that_says_what_it_is_for(package: str) -> None:
    found = rooms.rooms(package)

    assert sorted(file for room in found for file in room.files) == rooms.modules(package)
    assert [room.name for room in found if not room.purpose] == []


def test_no_files_import_each_other() -> None:
    assert list(rooms.circles()) == []


def test_no_room_loads_its_files_by_itself() -> None:
    loading = {
        module: sorted(found)
        for module in rooms.imports().modules
        if rooms.path_of(module).name == "__init__.py"
        and (found := rooms.imports().find_modules_directly_imported_by(module))
    }

    assert loading == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_public_name_is_one_thing_within_a_package(package: str) -> None:
    where = defaultdict(list)
    for path in sorted((rooms.SOURCES[package] / package).rglob("*.py")):
        for name in public_names(path):
            where[name].append(str(path.relative_to(rooms.SOURCES[package])))

    assert {name: files for name, files in where.items() if len(files) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_says_what_it_is(package: str) -> None:
    paths = sorted((rooms.SOURCES[package] / package).rglob("*.py"))

    assert [str(path) for path in paths if not rooms.first_sentence(path)] == []


@pytest.mark.parametrize("path", NAMED)
def test_what_the_page_names_exists(path: str) -> None:
    assert Path(path).exists()


def test_a_circle_between_rooms_is_found() -> None:
    with pytest.raises(CycleError):
        rooms.without_shortcuts({("a", "b"), ("b", "c"), ("c", "a")})


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    assert rooms.without_shortcuts({("a", "b"), ("b", "c"), ("a", "c")}) == {("a", "b"), ("b", "c")}
