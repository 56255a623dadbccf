"""Filters and pages of the Describe operations, which call it.

Values may hold ``*`` and ``?``. The values of one filter are alternatives, and a thing must pass every filter
("Filtering using the CLI or API", EC2 user guide).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from podway_lab.region.operation import Request
from podway_lab.region.state import Tags


class Described(Protocol):
    """Anything that has an id and tags."""

    @property
    def id(self) -> str: ...

    @property
    def tags(self) -> Tags: ...


_Thing = TypeVar("_Thing", bound=Described)
Values = Callable[[Any], Iterable[str]]
"""A thing's values for a filter. The thing passes if one of them matches one of the filter's."""


def select(request: Request, things: Iterable[_Thing], known: Mapping[str, Values]) -> list[_Thing]:
    """The things that pass every filter of the request. Raises InvalidParameterValue for an unknown one."""
    tests = [_test(request, asked, known) for asked in request.given.get("Filters", ())]
    return [thing for thing in things if all(test(thing) for test in tests)]


def page(
    request: Request, things: Iterable[_Thing], *, smallest: int = 5, largest: int = 1000
) -> tuple[list[_Thing], dict[str, str]]:
    """One page in order of id, and the ``NextToken`` that leads on when there is more.

    Without MaxResults EC2 still ends a page at the operation's maximum, so callers must follow tokens.
    Raises InvalidParameterValue for a size out of bounds, InvalidNextToken for a foreign token.
    """
    size = request.given.get("MaxResults")
    if size is not None and size < smallest:
        raise request.refuse(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid: at least {smallest} is expected.",
        )
    after = _after(request)
    rest = sorted((thing for thing in things if thing.id > after), key=lambda thing: thing.id)
    taken = rest[: min(size or largest, largest, request.settings.rows)]
    if len(taken) == len(rest):
        return taken, {}
    token = json.dumps([request.operation, taken[-1].id]).encode()
    return taken, {"NextToken": base64.urlsafe_b64encode(token).decode()}


def _after(request: Request) -> str:
    token = request.given.get("NextToken")
    if not token:
        return ""
    try:
        operation, after = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error):
        operation, after = None, ""
    if operation != request.operation:
        raise request.refuse("InvalidNextToken", "The token is invalid or expired")
    return str(after)


def _test(
    request: Request, asked: Mapping[str, Any], known: Mapping[str, Values]
) -> Callable[[Described], bool]:
    name, wanted = asked.get("Name", ""), asked.get("Values") or ()
    shows = _tag_values(name) or known.get(name)
    if shows is None or not wanted:
        problem = "is invalid" if shows is None else "has no values"
        raise request.refuse("InvalidParameterValue", f"The filter '{name}' {problem}")
    matches = _matcher(tuple(wanted))
    return lambda thing: any(matches(value) for value in shows(thing))


def _tag_values(name: str) -> Values | None:
    if name == "tag-key":
        return lambda thing: thing.tags
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda thing: [thing.tags[key]] if key in thing.tags else ()
    return None


@lru_cache(maxsize=256)
def _matcher(wanted: Sequence[str]) -> Callable[[str], bool]:
    if not any("*" in value or "?" in value for value in wanted):
        exact = frozenset(wanted)
        return lambda value: value in exact
    pattern = re.compile(
        "|".join(re.escape(value).replace(r"\*", ".*").replace(r"\?", ".") for value in wanted)
    )
    return lambda value: pattern.fullmatch(value) is not None
