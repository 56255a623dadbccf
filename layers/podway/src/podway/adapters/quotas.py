"""How many routes a table may hold. Asked by `ec2` once per process, and again until it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from podway.adapters.aws_errors import aws_errors, code_of
from podway.app.errors import PodwayError, Unexpected
from podway.domain.model import DEFAULT_QUOTA

if TYPE_CHECKING:
    from mypy_boto3_service_quotas import ServiceQuotasClient

ROUTES_PER_TABLE = "L-93826ACB"
_NEVER_CHANGED = "NoSuchResourceException"


class RouteQuota:
    """The applied quota. A failure is not remembered: the next run asks again."""

    def __init__(self, client: ServiceQuotasClient | None = None, *, fixed: int = 0) -> None:
        self._client, self._value = client, fixed

    def value(self) -> int | None:
        """Routes per table and address family; None where it cannot be read just now."""
        if not self._value:
            self._value = self._ask() or 0
        return self._value or None

    def known(self) -> int:
        """The same as far as it is known already, else the default: no call is made."""
        return self._value or DEFAULT_QUOTA

    def _ask(self) -> int | None:
        if self._client is None:
            return DEFAULT_QUOTA
        try:
            with aws_errors():
                answer = self._client.get_service_quota(ServiceCode="vpc", QuotaCode=ROUTES_PER_TABLE)
            return int(answer["Quota"]["Value"])
        except Unexpected as error:
            cause = error.__cause__
            never_changed = isinstance(cause, ClientError) and code_of(cause) == _NEVER_CHANGED
            return DEFAULT_QUOTA if never_changed else None
        except (PodwayError, KeyError, TypeError, ValueError):
            return None
