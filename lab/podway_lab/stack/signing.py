"""Signs every call with the credentials of the function that makes it.

``inprocess`` needs it: there all functions share a process, its variables and its clients. In Lambda each
environment has clients and credentials of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import botocore
from botocore import credentials as keys

from podway_lab.stack.deploy import Credentials

if TYPE_CHECKING:
    from botocore.session import Session

_SIGNER: ContextVar[Credentials | None] = ContextVar("signer", default=None)
"""Who makes the context's calls. Threads that make calls for it have its context."""


@contextmanager
def by(credentials: Credentials) -> Iterator[None]:
    """Sign the block's calls with *credentials*, whatever their client was made with."""
    before = _SIGNER.set(credentials)
    try:
        yield
    finally:
        _SIGNER.reset(before)


def stand_by() -> None:
    """Let the clients of all sessions opened from now on sign so."""
    botocore.register_initializer(_teach)


def step_back() -> None:
    """Let sessions opened from now on sign as they were made."""
    botocore.unregister_initializer(_teach)


def _teach(session: Session) -> None:
    session.register("before-sign", _sign)


def _sign(**told: Any) -> None:
    signer = _SIGNER.get()
    if signer is not None:
        own = keys.Credentials(signer.access_key, signer.secret_key, signer.token or None)
        told["request"].context.setdefault("signing", {})["request_credentials"] = own
