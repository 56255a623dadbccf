"""AWS's error codes become errors named by what the caller should do."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker
from podway.adapters.aws_errors import aws_errors, code_of, part
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
    Unexpected,
)


def refusal(code: str, message: str = "", status: int = 400, **more: Any) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
        **more,
    }
    return ClientError(answer, "ReplaceRoute")


def meaning(error: Exception) -> Exception:
    """What comes of *error* after translation."""
    with pytest.raises(Exception) as caught, aws_errors():  # noqa: PT011  (which one it is, is the question)
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("RouteAlreadyExists"), RouteIsThere),
        (refusal("RouteLimitExceeded"), QuotaReached),
        (refusal("InvalidRoute.NotFound"), RouteIsGone),
        (refusal("InvalidParameterValue", "There is no route defined for '100.64.0.0/20'"), RouteIsGone),
        (refusal("InvalidParameterValue", "The destination is inside the VPC"), NeedsOperator),
        (refusal("InvalidNetworkInterfaceID.NotFound"), TargetIsGone),
        (refusal("InvalidRouteTableID.NotFound"), TableIsGone),
        (refusal("UnauthorizedOperation", status=403), NeedsOperator),
        (refusal("RequestLimitExceeded", status=503), Throttled),
        (refusal("ProvisionedThroughputExceededException"), Throttled),
        (refusal("SomethingNew", status=500), TryAgain),
        (refusal("ConditionalCheckFailedException"), Superseded),
        (refusal("TransactionCanceledException"), TryAgain),
        (
            refusal(
                "TransactionCanceledException",
                CancellationReasons=[{"Code": "None"}, {"Code": "ConditionalCheckFailed"}],
            ),
            Superseded,
        ),
        (
            refusal("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}]),
            TryAgain,
        ),
        (EndpointConnectionError(endpoint_url="https://ec2"), TryAgain),
        (ConnectTimeoutError(endpoint_url="https://ec2"), TryAgain),
        (ReadTimeoutError(endpoint_url="https://ec2"), TryAgain),
    ],
    ids=str,
)
def test_what_aws_says_becomes_what_to_do(error: Exception, expected: type[PodwayError]) -> None:
    after = meaning(error)

    assert type(after) is expected
    assert after.__cause__ is error


def test_a_code_that_we_do_not_know_is_unexpected_and_keeps_its_name() -> None:
    error = refusal("SomethingNew")

    after = meaning(error)

    assert type(after) is Unexpected
    assert code_of(error) == "SomethingNew"
    assert "SomethingNew" in str(after)


@pytest.mark.parametrize("code", ThrottledRetryableChecker()._throttled_error_codes)  # type: ignore[attr-defined]  # not in the stubs
def test_every_throttling_code_of_botocore_is_one_of_ours(code: str) -> None:
    assert isinstance(meaning(refusal(code)), TryAgain)


def test_what_botocore_raises_by_itself_is_ours_too_but_for_our_own_faults() -> None:
    fault = ParamValidationError(report="a bug")

    assert type(meaning(ResponseParserError("half an answer"))) is TryAgain
    assert type(meaning(NoCredentialsError())) is NeedsOperator
    assert type(meaning(IncompleteReadError(actual_bytes=1, expected_bytes=2))) is Unexpected
    assert meaning(fault) is fault


def test_our_own_faults_are_not_dressed_up_as_awss() -> None:
    error = KeyError("a bug")

    assert meaning(error) is error


def test_an_answer_that_says_nothing_of_a_list_is_no_empty_list() -> None:
    assert part({"Items": []}, "Items") == []

    with pytest.raises(TryAgain, match="Items"):
        part({}, "Items")
