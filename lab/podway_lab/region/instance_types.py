"""DescribeInstanceTypes for a handful of types: what Podway ranks forwarders by.

The model calls it. Baseline and peak bandwidth (Gbit/s), vCPU and memory are those of the EC2 instance type
tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from podway_lab.region.filters import Values, page, select
from podway_lab.region.operation import Answer, Operations, Request
from podway_lab.region.state import Tags

INSTANCE_TYPE_OPERATIONS = Operations()


@dataclass(frozen=True, slots=True)
class InstanceType:
    id: str
    cpus: int
    memory: int
    """MiB."""
    baseline: float
    peak: float
    tags: Tags = field(default_factory=dict)


TYPES: Mapping[str, InstanceType] = {
    kind.id: kind
    for kind in (
        InstanceType("t3.micro", 2, 1024, 0.064, 5.0),
        InstanceType("t3.medium", 2, 4096, 0.256, 5.0),
        InstanceType("m5.large", 2, 8192, 0.75, 10.0),
        InstanceType("m5.xlarge", 4, 16384, 1.25, 10.0),
        InstanceType("m6i.large", 2, 8192, 0.781, 12.5),
        InstanceType("m6i.xlarge", 4, 16384, 1.562, 12.5),
        InstanceType("m6i.4xlarge", 16, 65536, 6.25, 12.5),
        InstanceType("c6gn.large", 2, 4096, 3.0, 25.0),
        InstanceType("c6gn.xlarge", 4, 8192, 6.3, 25.0),
    )
}

_FILTERS: Mapping[str, Values] = {"instance-type": lambda kind: [kind.id]}


@INSTANCE_TYPE_OPERATIONS.models(
    "DescribeInstanceTypes", "InstanceTypes", "Filters", "MaxResults", "NextToken"
)
def describe_instance_types(request: Request) -> Answer:
    """Without names, all of them, a hundred a page."""
    wanted = request.given.get("InstanceTypes", list(TYPES))
    if unknown := [name for name in wanted if name not in TYPES]:
        raise request.refuse(
            "InvalidInstanceType",
            f"The following supplied instance types do not exist: [{', '.join(unknown)}]",
        )
    named = [TYPES[name] for name in wanted]
    shown, more = page(request, select(request, named, _FILTERS), largest=100)
    return {"InstanceTypes": [_shown(kind) for kind in shown], **more}


def _shown(kind: InstanceType) -> dict[str, Any]:
    card = {
        "NetworkCardIndex": 0,
        "NetworkPerformance": f"Up to {kind.peak:g} Gigabit",
        "MaximumNetworkInterfaces": 3,
        "BaselineBandwidthInGbps": kind.baseline,
        "PeakBandwidthInGbps": kind.peak,
    }
    return {
        "InstanceType": kind.id,
        "CurrentGeneration": True,
        "SupportedUsageClasses": ["on-demand", "spot"],
        "VCpuInfo": {"DefaultVCpus": kind.cpus},
        "MemoryInfo": {"SizeInMiB": kind.memory},
        "NetworkInfo": {
            "NetworkPerformance": card["NetworkPerformance"],
            "MaximumNetworkInterfaces": 3,
            "MaximumNetworkCards": 1,
            "DefaultNetworkCardIndex": 0,
            "NetworkCards": [card],
        },
    }
