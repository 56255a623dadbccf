"""Who calls: an access key for each instance and each function, and what an instance may do.

The server asks it about every request; the lab and its machines take keys from it. The lab checks no
signatures: the access key id alone says who calls, and an unknown key is the operator's.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

READS = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
WRITES = frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem"})
SHARED_KEYS = "snapshot#"
"""Every node may read items under such a partition key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What STS says about the holder of an access key, and the key itself."""

    kind: Literal["instance", "function", "operator"]
    name: str
    """Instance id, function name, or ``operator``: the caller in the call log."""
    user_id: str
    """``aws:userid``: for a role's session the role's id, a colon, the session's name."""
    arn: str
    account: str
    access_key: str
    secret: str
    token: str
    role: str = ""


class Identities:
    """The account's known callers."""

    def __init__(self, account: str = "123456789012") -> None:
        self.account = account
        self._by_key: dict[str, Identity] = {}
        self._lock = threading.Lock()

    def instance(self, instance: str, role: str = "podway-node") -> Identity:
        """The session that EC2 opens for an instance: named after it, so that IAM can tell nodes apart."""
        return self._session("instance", role, instance, instance)

    def function(self, name: str, role: str = "") -> Identity:
        """The session under which a Lambda function calls."""
        return self._session("function", role or f"{name}-role", name, name)

    def of(self, access_key: str) -> Identity:
        """The identity that *access_key* belongs to."""
        return self._by_key.get(access_key) or Identity(
            kind="operator",
            name="operator",
            user_id="AIDAOPERATOR000000000",
            arn=f"arn:aws:iam::{self.account}:user/operator",
            account=self.account,
            access_key=access_key,
            secret="",
            token="",
        )

    def _session(self, kind: Literal["instance", "function"], role: str, session: str, name: str) -> Identity:
        role_id = f"AROA{_letters('role', role)[:17]}"
        identity = Identity(
            kind=kind,
            name=name,
            user_id=f"{role_id}:{session}",
            arn=f"arn:aws:sts::{self.account}:assumed-role/{role}/{session}",
            account=self.account,
            access_key=f"ASIA{_letters('key', role, session)[:16]}",
            secret=_letters("secret", role, session)[:40],
            token=_letters("token", role, session),
            role=role,
        )
        with self._lock:
            return self._by_key.setdefault(identity.access_key, identity)


def _letters(*seed: str) -> str:
    """Digits and capitals that look like AWS's and are the same every time."""
    return hashlib.sha512("/".join(seed).encode()).hexdigest().upper()


def may(identity: Identity, action: str, given: Mapping[str, Any]) -> bool:
    """Whether the policy of the nodes' role allows *identity* that call; others may do everything.

    Reads of ``snapshot#…`` and of its own key; writes of its own key only (``dynamodb:LeadingKeys`` =
    ``${aws:userid}``); and ``sts:GetCallerIdentity``, which needs no permission.
    """
    if identity.kind != "instance" or action == "sts:GetCallerIdentity":
        return True
    leading = _LEADING.get(action, _no_key)(given)
    if leading is None:
        return False
    own = leading == identity.user_id
    return own or (action in READS and leading.startswith(SHARED_KEYS))


def _text(attribute: object) -> str | None:
    return attribute.get("S") if isinstance(attribute, Mapping) else None


def _no_key(_: Mapping[str, Any]) -> str | None:
    return None


def _queried(given: Mapping[str, Any]) -> str | None:
    """The partition key of a query of the table itself; the lab's table calls it ``pk``."""
    names = given.get("ExpressionAttributeNames", {})
    if "IndexName" in given:
        return None
    for name, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", given.get("KeyConditionExpression", "")):
        if names.get(name, name) == "pk":
            return _text(given.get("ExpressionAttributeValues", {}).get(value))
    return None


_LEADING: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "dynamodb:GetItem": lambda given: _text(given.get("Key", {}).get("pk")),
    "dynamodb:UpdateItem": lambda given: _text(given.get("Key", {}).get("pk")),
    "dynamodb:PutItem": lambda given: _text(given.get("Item", {}).get("pk")),
    "dynamodb:Query": _queried,
}
