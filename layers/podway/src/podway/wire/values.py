"""How `cluster` and `snapshot` spell values of ``domain``: CIDRs as canonical text."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from podway.domain.addressing import Prefix


def _prefix(value: Any) -> Prefix:
    if isinstance(value, Prefix):
        return value
    if not isinstance(value, str):
        raise ValueError(f"expected a CIDR, not {type(value).__name__}")  # noqa: TRY004  (pydantic wants ValueError)
    return Prefix.parse(value)


Cidr = Annotated[Prefix, BeforeValidator(_prefix), PlainSerializer(str, return_type=str)]
"""A canonical IPv4 or IPv6 CIDR. Host bits are an error."""


class Document(BaseModel):
    """A frozen document that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
