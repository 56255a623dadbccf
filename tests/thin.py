"""Every way in which an answer may say less than it should, or something new. Property tests draw from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from podway_lab.region.alterations import omit, say, shorten
from podway_lab.region.faults import Alteration

ODD = "unheard-of"
"""A word that no model of AWS's lists. Ids are no words: EC2 does not give one of another kind."""
SHARES = (0.5, 1.0)


def alterations(answer: Mapping[str, Any]) -> dict[str, Alteration]:
    """Each field left out, each list shortened, each text another one: everywhere, and in half of the places.

    By name, which says what was done to which path of the *answer*.
    """
    found: dict[str, Alteration] = {}
    for path, value in sorted(_paths(answer)):
        for share in SHARES:
            found[f"{path} left out ({share})"] = omit(path, share=share)
            if value is list:
                found[f"{path} shortened ({share})"] = shorten(path, share=share)
            if value is str and not path.endswith("Id"):
                found[f"{path} in odd words ({share})"] = say(path, ODD, share=share)
    return found


def _paths(answer: Mapping[str, Any]) -> set[tuple[str, Any]]:
    """The path of every field, through all lists, and the kind of value that it leads to."""
    return {
        (path, kind)
        for path, kind in _walk(answer, "")
        if not path.startswith(("ResponseMetadata", "NextToken"))
    }


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for one in value:
            yield from _walk(one, path)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            deeper = f"{path}.{key}" if path else key
            yield deeper, type(one)
            yield from _walk(one, deeper)
