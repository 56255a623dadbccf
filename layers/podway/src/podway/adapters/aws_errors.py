"""Turns AWS's errors into ours. Every adapter calls AWS in `aws_errors`; only this file knows AWS's codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  (botocore's own name)
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from botocore.retries.standard import RetryContext, ThrottledRetryableChecker

from podway.app.errors import (
    InstanceIsGone,
    NeedsOperator,
    PodwayError,
    QuotaReached,
    RouteIsGone,
    RouteIsThere,
    SubnetIsGone,
    Superseded,
    TableIsGone,
    TargetIsGone,
    Throttled,
    TryAgain,
    Unexpected,
)

_BY_CODE: dict[str, type[PodwayError]] = {
    "RouteAlreadyExists": RouteIsThere,
    "RouteLimitExceeded": QuotaReached,
    "ResourceCountLimitExceeded": QuotaReached,
    "InvalidRoute.NotFound": RouteIsGone,
    "InvalidNetworkInterfaceID.NotFound": TargetIsGone,
    "InvalidInstanceID.NotFound": InstanceIsGone,
    "InvalidInstanceID.Malformed": InstanceIsGone,
    "InvalidRouteTableID.NotFound": TableIsGone,
    "InvalidRouteTableId.NotFound": TableIsGone,
    "InvalidSubnetID.NotFound": SubnetIsGone,
    "InvalidSubnetId.NotFound": SubnetIsGone,
    "ConditionalCheckFailedException": Superseded,
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
_THROTTLING = ThrottledRetryableChecker()
"""botocore's own list of throttling codes, of every service."""


def code_of(error: ClientError) -> str:
    """AWS's code for *error*."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _meaning(error: ClientError) -> type[PodwayError]:
    code = code_of(error)
    if code == "InvalidParameterValue" and "There is no route defined" in str(error):
        return RouteIsGone  # what ReplaceRoute answers instead of InvalidRoute.NotFound
    if code == "TransactionCanceledException":
        reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
        return Superseded if "ConditionalCheckFailed" in reasons else TryAgain
    if code in _BY_CODE:
        return _BY_CODE[code]
    if _THROTTLING.is_retryable(RetryContext(attempt_number=1, parsed_response=error.response)):
        return Throttled
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return TryAgain if status >= _SERVER_ERROR else Unexpected


def part(answer: Mapping[str, Any], name: str) -> Any:
    """What *answer* says under *name*. Raises TryAgain where it says nothing: that is no empty list."""
    try:
        return answer[name]
    except KeyError:
        raise TryAgain(f"AWS's answer says nothing of its {name}") from None


@contextmanager
def aws_errors() -> Iterator[None]:
    """Raise one of our errors for each of AWS's; a code that we do not know is Unexpected."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error)(str(error)) from error
    except (ConnectionError, HTTPClientError, ResponseParserError) as error:
        raise TryAgain(str(error)) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise NeedsOperator(str(error)) from error
    except ParamValidationError:  # a fault of ours
        raise
    except BotoCoreError as error:
        raise Unexpected(str(error)) from error
