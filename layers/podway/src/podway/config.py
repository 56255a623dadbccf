"""Settings of the functions and of the operator's command. `bootstrap` and `cli.connection` read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.model import DEFAULT_RESERVE
from podway.domain.pod_cidrs import usable_for_pods

PREFIX = "PODWAY_"


class BadSettings(ValueError):
    """The environment does not describe a cluster. The message names each variable at fault."""


def _pod_cidrs(value: Any) -> tuple[Prefix, ...]:
    if not isinstance(value, str):
        return tuple(value)
    return tuple(Prefix.parse(part.strip()) for part in value.split(",") if part.strip())


class Settings(BaseModel):
    """What an operator decides, with defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str = Field(min_length=1, max_length=63)
    pod_cidrs: Annotated[tuple[Prefix, ...], BeforeValidator(_pod_cidrs), Field(min_length=1, max_length=2)]
    table: str = Field(min_length=1)
    queue_url: str = Field(min_length=1)
    stack_id: str = Field(default="", max_length=256)
    """The CloudFormation stack's id, with which it marks its tables; empty: none are marked or compared."""
    vpc: str = Field(default="", pattern="^(vpc-[0-9a-f]{8,17})?$")
    """The cluster's VPC; where it is not told, that of the members."""
    node_tag: str = Field(default="podway:cluster", min_length=1, max_length=128)
    block_length: int = Field(default=26, ge=1, le=128)
    """Prefix length of a node's block, for the first pod CIDR's family."""
    route_reserve: int = Field(default=DEFAULT_RESERVE, ge=0, le=100)
    route_quota: int = Field(default=0, ge=0, le=1000)
    """Routes per table; 0 asks Service Quotas."""
    alarm_prefix: str = Field(default="", max_length=255)
    """What the names of the operator's own alarms begin with that are evidence too; empty: none are."""
    quarantine_seconds: int = Field(default=600, ge=0)
    hold_down_seconds: int = Field(default=60, ge=0)

    @field_validator("pod_cidrs")
    @classmethod
    def _usable(cls, cidrs: tuple[Prefix, ...]) -> tuple[Prefix, ...]:
        if faults := list(filter(None, map(usable_for_pods, cidrs))):
            raise ValueError("; ".join(faults))
        return cidrs

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        families = [cidr.version for cidr in self.pod_cidrs]
        if len(set(families)) != len(families):
            raise ValueError("pod_cidrs: at most one per address family")
        first = self.pod_cidrs[0]
        if not first.length < self.block_length <= WIDTH[first.version]:
            raise ValueError(f"block_length: /{self.block_length} is no part of {first}")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings from ``PODWAY_*`` variables. Other variables are ignored.

        Raises BadSettings naming every variable that is unknown, missing or wrong.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX)
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            faults = [
                f"{PREFIX}{'_'.join(map(str, fault['loc'][:1])).upper()}: {fault['msg']}"
                for fault in error.errors()
            ]
            raise BadSettings("; ".join(sorted(faults))) from None
