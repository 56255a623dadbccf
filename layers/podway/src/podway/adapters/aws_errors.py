"""Turns AWS's errors into ours. Every adapter calls AWS in `aws_errors`; only this file knows AWS's codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004  (botocore's own name)

from podway.app.errors import (
    NeedsOperator,
    PodwayError,
    QuotaReached,
    RouteIsGone,
    RouteIsThere,
    Superseded,
    TableIsGone,
    TargetIsGone,
    Throttled,
    TryAgain,
)

_BY_CODE: dict[str, type[PodwayError]] = {
    "RouteAlreadyExists": RouteIsThere,
    "RouteLimitExceeded": QuotaReached,
    "ResourceCountLimitExceeded": QuotaReached,
    "InvalidRoute.NotFound": RouteIsGone,
    "InvalidNetworkInterfaceID.NotFound": TargetIsGone,
    "InvalidRouteTableID.NotFound": TableIsGone,
    "InvalidRouteTableId.NotFound": TableIsGone,
    "ConditionalCheckFailedException": Superseded,
    **dict.fromkeys(
        (
            "EC2ThrottledException",
            "ProvisionedThroughputExceededException",
            "RequestLimitExceeded",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ),
        Throttled,
    ),
    **dict.fromkeys(
        (
            "InternalError",
            "InternalServerError",
            "RequestTimeout",
            "ServiceUnavailable",
            "TransactionConflictException",
            "TransactionInProgressException",
            "Unavailable",
        ),
        TryAgain,
    ),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "AuthFailure",
            "InvalidParameterCombination",
            "InvalidParameterValue",
            "OperationNotPermitted",
            "UnauthorizedOperation",
            "ValidationError",
            "ValidationException",
        ),
        NeedsOperator,
    ),
}
_SERVER_ERROR = 500
"""HTTP status from which on the fault is AWS's."""


def code_of(error: ClientError) -> str:
    """AWS's code for *error*."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _meaning(error: ClientError) -> type[PodwayError] | None:
    code = code_of(error)
    if code == "InvalidParameterValue" and "There is no route defined" in str(error):
        return RouteIsGone  # what ReplaceRoute answers instead of InvalidRoute.NotFound
    if code == "TransactionCanceledException":
        reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
        return Superseded if "ConditionalCheckFailed" in reasons else TryAgain
    if code in _BY_CODE:
        return _BY_CODE[code]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return TryAgain if status >= _SERVER_ERROR else None


@contextmanager
def aws_errors() -> Iterator[None]:
    """Raise our errors for AWS's. A code that is not known here comes through as ClientError."""
    try:
        yield
    except ClientError as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise meaning(str(error)) from error
    except (ConnectionError, HTTPClientError) as error:
        raise TryAgain(str(error)) from error
