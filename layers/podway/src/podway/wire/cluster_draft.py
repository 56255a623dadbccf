"""What can be read of a cluster document, faulty or not: every value with its place.

Called by `cluster` and `cluster_rules`. The rules read this and not the parsed document, so that one faulty
field hides no fault elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from podway.domain.addressing import Prefix

Place = tuple[int | str, ...]
"""The keys and indexes that lead to a field."""


class Fault(NamedTuple):
    """What is wrong, and where."""

    place: Place
    message: str

    def __str__(self) -> str:
        return _one_line(f"{field_path(self.place)}: {self.message}")


class DraftCidr(NamedTuple):
    """A canonical CIDR of the document."""

    place: Place
    prefix: Prefix


class Name(NamedTuple):
    """A text of the document that names something."""

    place: Place
    text: str


def canonical(text: str) -> Prefix:
    """The prefix that *text* spells. Raises ValueError unless it is spelt as we would print it."""
    prefix = Prefix.parse(text)
    if str(prefix) != text:
        raise ValueError(f"{text} is not canonical; write {prefix}")
    return prefix


@dataclass(frozen=True)
class ClusterDraft:
    """A parsed document whose shape has not been checked."""

    document: Any

    @cached_property
    def pod_cidrs(self) -> list[DraftCidr]:
        return list(self.cidrs((), self.document, "pod_cidrs"))

    @cached_property
    def vpc_cidrs(self) -> list[DraftCidr]:
        return list(self.cidrs((), self.document, "vpc_cidrs"))

    def entries(self, key: str) -> Iterator[tuple[Place, Any]]:
        """The items of a list of the document that are mappings."""
        for place, entry in self.items((), self.document, key):
            if isinstance(entry, dict):
                yield place, entry

    def items(self, place: Place, entry: Any, key: str) -> Iterator[tuple[Place, Any]]:
        """The items of the list under *key*."""
        found = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(found, list):
            for number, item in enumerate(found):
                yield (*place, key, number), item

    def cidrs(self, place: Place, entry: Any, key: str) -> Iterator[DraftCidr]:
        """The items of the list under *key* that are canonical CIDRs."""
        for where, item in self.items(place, entry, key):
            prefix = readable(item)
            if prefix is not None:
                yield DraftCidr(where, prefix)

    def texts(self, place: Place, entry: Any, key: str) -> Iterator[Name]:
        """The items of the list under *key* that are texts."""
        for where, item in self.items(place, entry, key):
            if isinstance(item, str):
                yield Name(where, item)

    def position(self, place: Place) -> tuple[int, ...]:
        """A place's position in the document, for sorting. What is missing comes last in its mapping."""
        here, found = self.document, []
        for step in place:
            if isinstance(here, dict):
                keys = [key if isinstance(key, int | str) else str(key) for key in here]
                found.append(keys.index(step) if step in keys else len(keys))
                here = here.get(step)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                found.append(step)
                here = here[step]
            else:
                break
        return tuple(found)


def text_of(entry: Any, key: str) -> str | None:
    """The text under *key*, if it is one."""
    found = entry.get(key)
    return found if isinstance(found, str) else None


def readable(value: object) -> Prefix | None:
    """The canonical CIDR that *value* spells, or None."""
    try:
        return canonical(value) if isinstance(value, str) else None
    except ValueError:
        return None


def field_path(place: Sequence[int | str]) -> str:
    """A place as text, such as ``nodes[3].blocks[0]``. A key that is not a plain name is quoted."""
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            name = step if step.isprintable() and step.strip() else repr(step)
            path += f".{name}" if path else name
    return path or "document"


def _one_line(text: str) -> str:
    """*text* as one line of printable text, whatever an operator wrote into an id."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
