"""EC2's errors: a ClientError as botocore would have built it from the answer.

The model, the faults and the server raise them. Codes and messages are those of EC2's error list ("Error
codes for the Amazon EC2 API").
"""

from __future__ import annotations

from botocore.exceptions import ClientError

_STATUS = {
    "DryRunOperation": 412,
    "UnauthorizedOperation": 403,
    "AccessDeniedException": 400,
    "RequestLimitExceeded": 503,
    "InternalError": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Unavailable": 503,
}
_NOUNS = {
    "InvalidVpcID": "vpc ID",
    "InvalidSubnetID": "subnet ID",
    "InvalidRouteTableID": "routeTable ID",
    "InvalidNetworkInterfaceID": "networkInterface ID",
    "InvalidInstanceID": "instance ID",
    "InvalidInternetGatewayID": "internetGateway ID",
    "InvalidAssociationID": "association ID",
    "InvalidPrefixListID": "prefix list ID",
}


def refusal(operation: str, code: str, message: str) -> ClientError:
    """The error that a client of AWS sees."""
    status = _STATUS.get(code, 400)
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0},
    }
    return ClientError(response, operation)  # type: ignore[arg-type]  # the stub demands RequestId and HostId, which we have not


def not_found(operation: str, kind: str, identity: str) -> ClientError:
    """*kind* is the code's first half, such as ``InvalidRouteTableID``."""
    return refusal(operation, f"{kind}.NotFound", f"The {_NOUNS[kind]} '{identity}' does not exist")


def code_of(error: ClientError) -> str:
    """The error's code."""
    return error.response["Error"]["Code"]
