"""What a role may do, read from its policies as IAM reads them: actions, resources and conditions.

The model asks before it carries out a call of somebody who has a policy. It knows of EC2 which resources
the calls of Podway are about, and which condition keys these have ("Actions, resources, and condition keys
for Amazon EC2", service authorization reference).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from podway_lab.region.operation import Settings
from podway_lab.region.state import State

Context = Mapping[str, tuple[str, ...]]
"""Values of the condition keys that the request has; any other key is absent."""


class UnreadablePolicy(ValueError):
    """The policy says something that the lab does not know how to check."""


@dataclass(frozen=True, slots=True)
class Concerned:
    """A resource that a call is about, with the condition keys of resource and request."""

    arn: str
    context: Context


@dataclass(frozen=True, slots=True)
class Condition:
    """One key of a condition block: *operator* is without ``ForAllValues:`` and ``ForAnyValue:``."""

    operator: str
    of_all: bool
    key: str
    wanted: tuple[str, ...]

    def holds(self, context: Context) -> bool:
        """As IAM: a key that is absent matches ``Null`` and ``ForAllValues:`` only."""
        said = context.get(self.key, ())
        if self.operator == "Null":
            return self.wanted == (str(not said).lower(),)
        matches = _OPERATORS[self.operator]
        matched = [any(matches(value, pattern) for pattern in self.wanted) for value in said]
        return all(matched) if self.of_all else any(matched)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a policy."""

    denies: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def applies(self, action: str, concerned: Concerned) -> bool:
        """Whether it speaks of that action on that resource, under conditions that hold."""
        return (
            any(fnmatchcase(action.lower(), pattern.lower()) for pattern in self.actions)
            and any(fnmatchcase(concerned.arn, pattern) for pattern in self.resources)
            and all(one.holds(concerned.context) for one in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """All policies of a role."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, documents: Iterable[Mapping[str, Any]]) -> Policy:
        """Of documents in which every reference is resolved. Raises UnreadablePolicy."""
        return cls(tuple(_statement(one) for each in documents for one in _listed(each["Statement"])))

    def allows(self, action: str, concerned: Concerned) -> bool:
        """Whether a statement allows it, and none denies it."""
        applying = [one for one in self.statements if one.applies(action, concerned)]
        return bool(applying) and not any(one.denies for one in applying)


def _statement(said: Mapping[str, Any]) -> Statement:
    known = {"Sid", "Effect", "Action", "Resource", "Condition"}
    if unknown := said.keys() - known:
        raise UnreadablePolicy(f"a statement with {', '.join(sorted(unknown))}")
    return Statement(
        said["Effect"] == "Deny",
        tuple(_listed(said["Action"])),
        tuple(_listed(said["Resource"])),
        tuple(
            _condition(operator, key, wanted)
            for operator, keys in said.get("Condition", {}).items()
            for key, wanted in keys.items()
        ),
    )


def _condition(operator: str, key: str, wanted: object) -> Condition:
    qualifier, _, name = operator.rpartition(":")
    if qualifier not in {"", "ForAllValues", "ForAnyValue"} or name not in {*_OPERATORS, "Null"}:
        raise UnreadablePolicy(f"a condition {operator}")
    return Condition(name, qualifier == "ForAllValues", key, tuple(map(str, _listed(wanted))))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": fnmatchcase,
    "ArnEquals": fnmatchcase,
    "ArnLike": fnmatchcase,
}
"""Of a value and a pattern. ``ArnEquals`` takes wildcards as ``ArnLike`` does."""


# ---- EC2 --------------------------------------------------------------------------------------------

_TABLE_WRITES = frozenset({"CreateRoute", "ReplaceRoute", "DeleteRoute"})
_TAG_WRITES = frozenset({"CreateTags", "DeleteTags"})


def ec2_concerned(
    operation: str, given: Mapping[str, Any], state: State, settings: Settings
) -> list[Concerned]:
    """What a call of EC2 is about. ``*`` where EC2 knows no resource, or the lab knows none of the call's.

    An id that does not exist is left out: the call itself says NotFound.
    """
    if operation in _TABLE_WRITES:
        return _resources(state, settings, [given.get("RouteTableId", "")], {})
    if operation == "ModifyNetworkInterfaceAttribute":
        return _resources(state, settings, [given.get("NetworkInterfaceId", "")], {})
    if operation in _TAG_WRITES:
        return _resources(state, settings, given.get("Resources", ()), _asked_tags(operation, given))
    return [Concerned("*", {})]


def _asked_tags(operation: str, given: Mapping[str, Any]) -> Context:
    tags = given.get("Tags", ())
    keys = {"aws:TagKeys": tuple(tag["Key"] for tag in tags)}
    if operation == "DeleteTags":
        return keys
    return keys | {f"aws:RequestTag/{tag['Key']}": (tag.get("Value", ""),) for tag in tags}


def _resources(
    state: State, settings: Settings, identities: Iterable[str], request: Context
) -> list[Concerned]:
    shelves: Mapping[str, Mapping[str, Any]] = {
        "route-table": state.tables,
        "network-interface": state.interfaces,
        "instance": state.instances,
        "subnet": state.subnets,
        "internet-gateway": state.gateways,
        "vpc": state.vpcs,
    }
    found = []
    for identity in identities:
        for kind, shelf in shelves.items():
            if identity in shelf:
                found.append(_concerned(settings, kind, identity, shelf[identity], request))
    return found


def _concerned(settings: Settings, kind: str, identity: str, thing: Any, request: Context) -> Concerned:
    of_region = f"arn:aws:ec2:{settings.name}:{settings.account}"
    context: dict[str, tuple[str, ...]] = {**request, "ec2:Region": (settings.name,)}
    if vpc := getattr(thing, "vpc", ""):
        context["ec2:Vpc"] = (f"{of_region}:vpc/{vpc}",)
    for key, value in thing.tags.items():
        context[f"aws:ResourceTag/{key}"] = context[f"ec2:ResourceTag/{key}"] = (value,)
    return Concerned(f"{of_region}:{kind}/{identity}", context)
