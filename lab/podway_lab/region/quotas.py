"""Service Quotas, as far as the region has a quota of its own. The server answers GetServiceQuota by it."""

from __future__ import annotations

from typing import Any

from podway_lab.region.errors import refusal
from podway_lab.region.model import StrictEC2

ROUTES_PER_TABLE = ("vpc", "L-93826ACB")
"""Service and quota code of "Routes per route table"."""


class ServiceQuotas:
    """Looks like ``boto3.client("service-quotas")``."""

    def __init__(self, ec2: StrictEC2) -> None:
        self._ec2 = ec2

    def get_service_quota(self, **given: Any) -> dict[str, Any]:
        """The applied value. Raises NoSuchResourceException for any quota but the routes'."""
        asked = (given["ServiceCode"], given["QuotaCode"])
        if asked != ROUTES_PER_TABLE:
            raise refusal(
                "GetServiceQuota",
                "NoSuchResourceException",
                "The request failed because the specified service quota does not exist",
            )
        settings = self._ec2.settings
        service, code = asked
        return {
            "Quota": {
                "ServiceCode": service,
                "ServiceName": "Amazon Virtual Private Cloud (Amazon VPC)",
                "QuotaArn": f"arn:aws:servicequotas:{settings.name}:{settings.account}:{service}/{code}",
                "QuotaCode": code,
                "QuotaName": "Routes per route table",
                "Value": float(settings.route_quota),
                "Unit": "None",
                "Adjustable": True,
                "GlobalQuota": False,
            }
        }
