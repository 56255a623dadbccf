"""An operation of the API: a function of a `Request`, and the parameters that it models.

Each module of operations fills an `Operations` of its own; `model` merges them and calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from podway_lab.region.changes import Change
from podway_lab.region.errors import not_found, refusal
from podway_lab.region.state import State, Tags

Answer = dict[str, Any]
_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Settings:
    """What an account can change about its region, and how long instances change state."""

    route_quota: int = 500
    """Routes per table and family; separately for IPv4 and IPv6."""
    account: str = "123456789012"
    name: str = "us-west-2"
    lifecycle: Mapping[str, float] = field(default_factory=dict)
    """Seconds that ``pending``, ``stopping`` and ``shutting-down`` last; 0 where it says nothing,
    ``math.inf`` for "until somebody settles it"."""
    rows: int = 1000
    """Most rows of a page of any Describe: EC2 may end a page before MaxResults."""
    terminated_visible: timedelta = timedelta(hours=1)
    """How long a terminated instance is still described (EC2 user guide: about an hour)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call: what was given, by whom and when, and the state that it sees."""

    operation: str
    given: Mapping[str, Any]
    caller: str
    at: datetime
    state: State
    settings: Settings
    tell: Callable[[Change], None]

    def refuse(self, code: str, message: str) -> ClientError:
        return refusal(self.operation, code, message)

    def find(self, things: Mapping[str, _Thing], kind: str, identity: str) -> _Thing:
        """The thing of that id. Raises ``KIND.NotFound``, or ``KIND.Malformed`` for no id at all."""
        try:
            return things[identity]
        except KeyError:
            raise not_found(self.operation, kind, identity) from None

    def named(self, parameter: str, things: Mapping[str, _Thing], kind: str) -> list[_Thing]:
        """What a list of ids names, or everything when the list was not given."""
        identities = self.given.get(parameter)
        if identities is None:
            return list(things.values())
        return [self.find(things, kind, identity) for identity in dict.fromkeys(identities)]

    def tags_for(self, kind: str) -> Tags:
        """Tags that the request gives to the new resource of *kind*."""
        tags: dict[str, str] = {}
        for specification in self.given.get("TagSpecifications", ()):
            if specification["ResourceType"] == kind:
                tags |= {tag["Key"]: tag["Value"] for tag in specification["Tags"]}
        return tags


@dataclass(frozen=True, slots=True)
class Operation:
    """*parameters* are those it models; any other is refused rather than ignored."""

    name: str
    answer: Callable[[Request], Answer]
    parameters: frozenset[str]

    @property
    def reads(self) -> bool:
        return self.name.startswith("Describe")


class Operations(dict[str, Operation]):
    """Operations by name; used as a decorator."""

    def models(
        self, name: str, *parameters: str
    ) -> Callable[[Callable[[Request], Answer]], Callable[[Request], Answer]]:
        """Register the function as operation *name* with those parameters, and ``DryRun``."""

        def register(answer: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
            self[name] = Operation(name, answer, frozenset(parameters) | {"DryRun"})
            return answer

        return register


def shown_tags(tags: Tags) -> list[dict[str, str]]:
    """Tags as the API lists them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
