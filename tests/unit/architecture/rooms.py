"""The rooms of the code, read from its files and imports: the pictures and lists of docs/architecture.md.

``make rooms`` (``python -m tests.unit.architecture.rooms``) writes anew what lies between the page's marks.
A test fails while that is out of date. grimp, import-linter's own library, reads the imports.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from itertools import product
from pathlib import Path

import grimp

PAGE = Path("docs/architecture.md")
SOURCES = {
    "podway": Path("layers/podway/src"),
    "podway_agent": Path("node_agent/src"),
    "podway_lab": Path("lab"),
}
NESTED = ("podway.domain",)
"""Packages that have rooms of their own."""
GROUND = "podway.domain (ground)"
"""The files of domain that lie in no room: the words that all rooms share."""


@dataclass(frozen=True)
class Room:
    """A package or a single file that is a place of its own: its name, purpose and files (dotted names)."""

    name: str
    purpose: str
    files: tuple[str, ...]


def first_sentence(path: Path) -> str:
    """What the docstring of a file says first; empty without one."""
    said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    return " ".join(said.split())


def path_of(module: str) -> Path:
    """The file of a module or package."""
    place = SOURCES[module.partition(".")[0]] / module.replace(".", "/")
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def room_of(module: str) -> str:
    """The name of the room in which a module lies. Raises LookupError for one that lies in none."""
    parts = module.split(".")
    for nested in NESTED:
        if module.startswith(f"{nested}."):
            lies_in = parts[: nested.count(".") + 2]
            return GROUND if path_of(".".join(lies_in)).name != "__init__.py" else ".".join(lies_in)
    if len(parts) == 1:
        raise LookupError(f"{module} is a whole package, not a place in it")
    return ".".join(parts[:2])


@cache
def imports() -> grimp.ImportGraph:
    """Who imports whom, imports inside functions and for type checkers included."""
    return grimp.build_graph(*SOURCES, cache_dir=None)


def modules(package: str) -> list[str]:
    """All files of *package*, but for the ``__init__`` of packages."""
    return sorted(
        one
        for one in imports().modules
        if one.startswith(f"{package}.") and path_of(one).name != "__init__.py"
    )


def rooms(package: str) -> tuple[Room, ...]:
    """The rooms of *package*, by name."""
    below = [one for one in imports().modules if one.startswith(f"{package}.") and one not in NESTED]
    found: dict[str, list[str]] = {room_of(one): [] for one in below if path_of(one).name == "__init__.py"}
    for module in modules(package):
        found.setdefault(room_of(module), []).append(module)
    return tuple(Room(name, _purpose(name), tuple(files)) for name, files in sorted(found.items()))


def _purpose(room: str) -> str:
    return first_sentence(path_of(room.partition(" ")[0]))


def arrows(names: Iterable[str]) -> set[tuple[str, str]]:
    """Which of *names* imports which other one: rooms, or a package that stands for all of its rooms."""
    wanted = set(names)

    def place(module: str) -> str:
        return next((one for one in NESTED if one in wanted and module.startswith(one)), room_of(module))

    found = {
        (place(importer), place(imported))
        for importer in imports().modules
        for imported in imports().find_modules_directly_imported_by(importer)
        if "." in importer and "." in imported
    }
    return {(one, other) for one, other in found if one != other and {one, other} <= wanted}


def without_shortcuts(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The transitive reduction: no arrow that follows from others. Raises CycleError."""
    next_ones: dict[str, set[str]] = {}
    for one, other in pairs:
        next_ones.setdefault(one, set()).add(other)
    below: dict[str, set[str]] = {}
    for room in TopologicalSorter(next_ones).static_order():  # what is imported comes first
        direct = next_ones.get(room, set())
        below[room] = direct.union(*(below[other] for other in direct))
    return {
        (one, other)
        for one, other in pairs
        if not any(other in below[between] for between in next_ones[one] - {other})
    }


def picture(names: Iterable[str]) -> str:
    """A Mermaid flowchart of the rooms; an arrow means *imports*, and those that follow are left out."""
    names = sorted(names)
    number = {name: f"r{at}" for at, name in enumerate(names)}
    lines = ["```mermaid", "flowchart TD"]
    lines += [f'  {number[name]}["{_short(name)}"]' for name in names]
    pairs = sorted(without_shortcuts(arrows(names)))
    lines += [f"  {number[one]} --> {number[other]}" for one, other in pairs]
    return "\n".join([*lines, "```"])


def _short(room: str) -> str:
    for nested in NESTED:
        if room.startswith((f"{nested}.", f"{nested} ")):
            return room[len(nested) + 1 :]
    return room.partition(".")[2]


def table(shown: Iterable[Room]) -> str:
    """Rooms, purposes and files, as Markdown."""
    lines = ["| room | what it is for | files |", "|---|---|---|"]
    for room in shown:
        inside = [one.rpartition(".")[2] for one in room.files]
        files = "" if room.files == (room.name,) else " ".join(f"`{name}`" for name in inside)
        lines.append(f"| `{_short(room.name)}` | {room.purpose} | {files} |")
    return "\n".join(lines)


def parts() -> Mapping[str, str]:
    """What stands between the marks of the page, by the marks' names."""
    domain = rooms("podway.domain")
    library = [room for room in rooms("podway") if room not in domain]
    agent, lab = rooms("podway_agent"), rooms("podway_lab")
    return {
        "library": picture([*(room.name for room in library), "podway.domain"]),
        "library-rooms": table(library),
        "domain": picture(room.name for room in domain),
        "domain-rooms": table(domain),
        "agent": picture(room.name for room in agent),
        "agent-rooms": table(agent),
        "lab": picture(room.name for room in lab),
        "lab-rooms": table(lab),
    }


def page() -> str:
    """The page, with what lies between its marks made anew. Raises LookupError for a missing mark."""
    text = PAGE.read_text(encoding="utf-8")
    for name, content in parts().items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        found = marks.search(text)
        if found is None:
            raise LookupError(f"{PAGE} has no <!-- {name} --> … <!-- /{name} -->")
        text = f"{text[: found.end(1)]}{content}\n{text[found.start(2) :]}"
    return text


def circles() -> Iterator[tuple[str, str]]:
    """Pairs of files that import each other, directly or over others."""
    graph = imports()
    for package in SOURCES:
        for one, other in product(modules(package), repeat=2):
            if one < other and graph.chain_exists(one, other) and graph.chain_exists(other, one):
                yield one, other


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
