"""What may become of an answer of EC2 on its way: rows are missing, or words come that nobody knew.

Given to `Faults.arm` by tests and the simulation. Each makes an answer that AWS may give: pages that end
early, a row less, a state or origin that came later than this code (`Advertisement` did in 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

from podway_lab.region.faults import Alteration

ROWS = ("Reservations", "RouteTables", "Subnets", "Vpcs", "InstanceTypes", "NetworkInterfaces")
"""Under which key a Describe lists what it found."""


def leave_out(share: float) -> Alteration:
    """Leaves out that *share* of the rows; an instance is a row, whatever reservation it is in."""
    return lambda answer, rng: _thinned(answer, lambda _: rng.random() < share)


def leave_out_if(unwanted: Callable[[dict[str, Any]], bool]) -> Alteration:
    """Leaves out the rows for which *unwanted* says so."""
    return lambda answer, _: _thinned(answer, unwanted)


def _thinned(answer: dict[str, Any], unwanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    key = next((key for key in ROWS if key in answer), "")
    if key == "Reservations":
        kept = [
            {**row, "Instances": [one for one in row["Instances"] if not unwanted(one)]}
            for row in answer[key]
        ]
        return {**answer, key: [row for row in kept if row["Instances"]]}
    return {**answer, key: [row for row in answer[key] if not unwanted(row)]} if key else answer


def end_early(answer: dict[str, Any], rng: Random) -> dict[str, Any]:
    """The first page, as if it were the last."""
    del rng
    return {key: value for key, value in answer.items() if key != "NextToken"}


def say(path: str, word: str, *, share: float = 1.0) -> Alteration:
    """Says *word* where *path* (``RouteTables.Routes.State``) leads to a text, in that *share* of places."""

    def edit(place: dict[str, Any], field: str) -> None:
        if isinstance(place[field], str):
            place[field] = word

    return _edited(path, share, edit)


def omit(path: str, *, share: float = 1.0) -> Alteration:
    """Leaves out the field to which *path* leads, for that *share* of the places."""
    return _edited(path, share, lambda place, field: place.__delitem__(field))


def shorten(path: str, *, share: float = 1.0) -> Alteration:
    """Leaves that *share* of the rows out of every list to which *path* leads."""

    def alter(answer: dict[str, Any], rng: Random) -> dict[str, Any]:
        *way, last = path.split(".")
        changed = deepcopy(answer)
        for place in _places(changed, way):
            if isinstance(place.get(last), list):
                place[last] = [one for one in place[last] if rng.random() >= share]
        return changed

    return alter


def _edited(path: str, share: float, edit: Callable[[dict[str, Any], str], None]) -> Alteration:
    *way, last = path.split(".")

    def alter(answer: dict[str, Any], rng: Random) -> dict[str, Any]:
        changed = deepcopy(answer)
        for place in _places(changed, way):
            if last in place and rng.random() < share:
                edit(place, last)
        return changed

    return alter


def _places(found: Any, way: list[str]) -> Iterator[dict[str, Any]]:
    """The dictionaries at the end of *way*, through every list on it."""
    if isinstance(found, list):
        for one in found:
            yield from _places(one, way)
    elif isinstance(found, dict):
        if not way:
            yield found
        elif way[0] in found:
            yield from _places(found[way[0]], way[1:])
