"""Asks Service Quotas how many routes a table may hold. Called by `ec2`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from podway.adapters.aws_errors import aws_errors
from podway.app.errors import PodwayError
from podway.domain.model import DEFAULT_QUOTA

if TYPE_CHECKING:
    from mypy_boto3_service_quotas import ServiceQuotasClient

ROUTES_PER_TABLE = "L-93826ACB"
"""Service Quotas' code."""


class RouteQuota:
    """The applied quota, asked once per process. 500 (AWS's default) if it cannot be read."""

    def __init__(self, client: ServiceQuotasClient | None = None, *, fixed: int = 0) -> None:
        self._client, self._value = client, fixed

    def value(self) -> int:
        """Routes per table and address family."""
        if not self._value:
            self._value = self._ask()
        return self._value

    def known(self) -> int:
        """The quota if it is known already, else the default. No call is made."""
        return self._value or DEFAULT_QUOTA

    def _ask(self) -> int:
        if self._client is None:
            return DEFAULT_QUOTA
        try:
            with aws_errors():
                answer = self._client.get_service_quota(ServiceCode="vpc", QuotaCode=ROUTES_PER_TABLE)
        except (PodwayError, ClientError):  # not allowed to ask, or never changed here
            return DEFAULT_QUOTA
        return int(answer["Quota"]["Value"])
