"""The one item that an agent writes. The agent makes it, `batches` and `adapters.items` read it.

IAM binds the item's key to the caller (``dynamodb:LeadingKeys`` = ``aws:userid``). So the key, and not a
field, says who wrote it. IAM cannot bound how many items a node writes under its key, nor how large they are:
the bounds are here, and the store's adapter reads one item of each speaker.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from podway.wire.values import Cidr

AGENTS = "agents"
"""Value of ``reports`` that puts the item into the index."""

INDEX = "speakers"
"""The index of the agents' items, by the key that IAM binds. It projects the fields of `AgentItem` only."""

MOST_SUSPECTS = 64
"""Nodes that one item may name. A watcher has a handful of them, and each costs a read."""

MOST_NAMED_BLOCKS = 512
"""Blocks and single addresses that one item may name."""

MOST_CAUSES = 8
"""Causes that one item may name."""

AGENT_SORT_KEY = "agent"

Cause = Literal["joined", "acknowledged", "addresses", "suspicion", "heartbeat"]


ShortText = Annotated[str, StringConstraints(max_length=64)]
"""An id of EC2's, or a version of ours."""


class AgentItem(BaseModel):
    """What an agent reports of itself and of the forwarders that it watches."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    pk: str = Field(pattern=r"^[A-Z0-9]+:i-[0-9a-f]+$", max_length=128)
    """``aws:userid`` of the instance role's session: role id, colon, instance id."""
    sk: Literal["agent"] = "agent"
    reports: Literal["agents"] = "agents"
    instance: ShortText
    subnet: ShortText
    generation: int = Field(ge=0, lt=2**53)
    """Newest generation of the subnet's snapshot that the kernel holds completely; 0 before the first."""
    heartbeat: AwareDatetime
    cause: Cause
    """The gravest of *causes*, for stacks that read no more than one."""
    causes: tuple[ShortText, ...] = Field(default=(), max_length=MOST_CAUSES)
    """All that is news since the last item; a word that is unknown is news too. Absent: *cause* alone."""
    suspecting: bool = False
    suspects: tuple[ShortText, ...] = Field(default=(), max_length=MOST_SUSPECTS)
    blocks_wanted: int = Field(default=0, ge=0, le=1000)
    """How many blocks of each family its pods need. It gets more only if it has fewer."""
    version: ShortText = ""
    epoch: int = Field(default=1, ge=1, lt=2**53)
    """The epoch that ``generation`` counts in: the newest that the agent has heard of."""
    blocks: Annotated[tuple[Cidr, ...], Field(max_length=MOST_NAMED_BLOCKS)] | None = None
    """The blocks that its pods may use, and the addresses that they use outside those; absent: not said."""
    boot: str = Field(default="", max_length=64)
    """The kernel's boot id: what was seen of the node before another one is over."""

    @property
    def news(self) -> tuple[str, ...]:
        """What the item says that is new."""
        return self.causes or (self.cause,)

    @property
    def speaker(self) -> str:
        """The instance that wrote the item, by the key that IAM binds."""
        return self.pk.partition(":")[2]
