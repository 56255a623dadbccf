"""Reads requests and writes answers as AWS does on the wire, by botocore's service models and moto's parsers.

The server uses it for the calls that it answers itself, and to read the errors of moto's answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from botocore.exceptions import ClientError
from moto.core.errors import COMMON_ERROR_CODES
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import Headers, MultiDict

# Errors of every service ("Common errors" of each API reference), which their models do not list:
# moto would warn of each.
COMMON_ERROR_CODES.extend(["AccessDeniedException", "ThrottlingException", "InternalServerError"])

_BOTO_NAMES = {
    "servicequotas": "service-quotas",
    "monitoring": "cloudwatch",
    "streams.dynamodb": "dynamodbstreams",
}
"""Services that sign under another name than botocore's, and botocore's name of each."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A signed request: who, of which service, which operation, with what body."""

    access_key: str
    service: str
    operation: str
    content_type: str
    body: bytes

    @property
    def action(self) -> str:
        return f"{self.service}:{self.operation}"

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(errors="replace"), keep_blank_values=True))


class _Refused(Exception):
    """What moto's serialisers take for an error. They would look moto's own class up by its module."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Reply = tuple[str, list[tuple[str, str]], bytes]


def read(environ: Mapping[str, Any], body: bytes) -> Asked:
    """What a request asks for; empty strings where it does not say."""
    key, service = _credential(environ.get("HTTP_AUTHORIZATION", ""))
    content_type = environ.get("CONTENT_TYPE", "")
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        operation = target.rpartition(".")[2]
    elif content_type.startswith("application/x-www-form-urlencoded"):
        operation = dict(parse_qsl(body.decode(errors="replace"))).get("Action", "")
    else:
        operation = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"
    return Asked(key, service, operation, content_type, body)


def _credential(authorization: str) -> tuple[str, str]:
    """Access key and service of ``AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …``."""
    _, found, rest = authorization.partition("Credential=")
    parts = rest.split(",")[0].split("/")
    return (parts[0], parts[3]) if found and len(parts) == 5 else ("", "")  # noqa: PLR2004  (parts of a credential scope)


def given(asked: Asked) -> dict[str, Any]:
    """The request's parameters, typed by the service's model. Raises KeyError for an unknown operation."""
    model, protocol, operation = _models(asked)
    if asked.operation not in model.operation_names:
        raise KeyError(asked.operation)
    parser = PROTOCOL_PARSERS[protocol](operation)
    parsed: dict[str, Any] = parser.parse(
        {
            "values": MultiDict(asked.form if protocol in {"ec2", "query"} else {}),
            "body": asked.body,
            "headers": Headers(),
            "method": "POST",
            "url_path": "/",
            "url_params": {},
        }
    )
    return parsed


def answer(asked: Asked, result: Mapping[str, Any]) -> Reply:
    """*result* as the service asked would send it."""
    return _serialised(asked, dict(result), HTTPStatus.OK)


def refuse(asked: Asked, error: ClientError) -> Reply:
    """*error* as the service asked would send it."""
    problem = error.response["Error"]
    status = HTTPStatus(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return _serialised(asked, _Refused(problem["Code"], problem["Message"]), status)


def _serialised(asked: Asked, result: object, status: HTTPStatus) -> Reply:
    model, protocol, operation = _models(asked)
    serializer = get_serializer_class(model.service_name, protocol)(operation)
    sent = serializer.serialize(result)
    body = sent["body"]
    return (
        f"{status.value} {status.phrase}",
        [(name, str(value)) for name, value in sent["headers"].items()],
        body if isinstance(body, bytes) else body.encode(),
    )


def _models(asked: Asked) -> tuple[Any, str, Any]:
    model = get_service_model(_BOTO_NAMES.get(asked.service, asked.service))
    protocol = determine_request_protocol(model, asked.content_type)
    if asked.operation in model.operation_names:
        return model, protocol, model.operation_model(asked.operation)
    return model, protocol, OperationModel({}, model)


def json_body(asked: Asked) -> dict[str, Any]:
    """The body of a JSON request, empty when it is none."""
    try:
        body = json.loads(asked.body)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def error_code(reply: Reply) -> str:
    """The error that a reply of moto's carries, in JSON or XML; empty for success."""
    status, headers, body = reply
    if int(status[:3]) < HTTPStatus.BAD_REQUEST:
        return ""
    named = {name.lower(): value for name, value in headers}.get("x-amzn-errortype")
    found = re.search(rb'"__type"\s*:\s*"(?:[^"]*#)?(\w+)"|<Code>([\w.]+)</Code>', body)
    return named or (next(filter(None, found.groups())).decode() if found else status[:3])
