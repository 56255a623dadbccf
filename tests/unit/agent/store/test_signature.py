"""What goes to AWS is signed with the instance role's credentials, as AWS's own description of SigV4 says.

The signature is computed here a second time, by hand, from what arrived: AWS, "Create a signed AWS API
request". The role's credentials come from a metadata service that wants a token (IMDSv2).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from podway_agent.store.client import Cloud, DynamoDbStore

from tests.unit.agent.standins import Answering, Metadata, Served

ROLE = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2099-01-01T00:00:00Z",
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "a secret",
    "Token": "of this session",
}
TOLD = {
    "iam/security-credentials/": "nodes",
    "iam/security-credentials/nodes": json.dumps(ROLE),
}


class Recorder(Served):
    """Keeps each request as it came."""

    def __init__(self, listening: socket.socket) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(Answering):
            def do_POST(self) -> None:  # noqa: N802  (http.server calls it so)
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.answer("{}")

        super().__init__(listening, Handler)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.server.server_address[1]}"


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with Metadata(listening(), TOLD) as served:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url(served))
        yield served


def keyed(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(headers: dict[str, str], body: bytes, *, names: list[str], scope: str) -> str:
    """SigV4's steps 1 to 4 for a POST to ``/``."""
    canonical = ["POST", "/", "", *(f"{name}:{headers[name]}" for name in names), "", ";".join(names)]
    canonical.append(hashlib.sha256(body).hexdigest())
    digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = f"AWS4{ROLE['SecretAccessKey']}".encode()
    for part in scope.split("/"):
        key = keyed(key, part)
    return keyed(key, "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, digest])).hex()


def test_requests_carry_the_roles_signature(metadata: Metadata) -> None:
    with Recorder(listening()) as store:
        DynamoDbStore(Cloud(), "podway", region="us-west-2", endpoint=url(store)).version("subnet-a")

    ((headers, body),) = store.requests
    said: Any = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE/(?P<scope>\d{8}/us-west-2/dynamodb/aws4_request), "
        r"SignedHeaders=(?P<names>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})",
        headers["authorization"],
    )
    names = said["names"].split(";")
    assert {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} <= set(names)
    assert headers["x-amz-security-token"] == ROLE["Token"]
    assert said["signature"] == signature(headers, body, names=names, scope=said["scope"])
    assert metadata.asked == list(TOLD)


def test_credentials_are_asked_for_once_while_they_are_good(metadata: Metadata) -> None:
    with Recorder(listening()) as store:
        client = DynamoDbStore(Cloud(), "podway", region="us-west-2", endpoint=url(store))
        for _ in range(5):
            client.version("subnet-a")

    assert len(store.requests) == 5
    assert metadata.asked == list(TOLD)


def test_without_a_role_the_store_is_away_and_says_why(metadata: Metadata) -> None:
    from podway_agent.store.client import StoreAway

    metadata.told = {}

    with pytest.raises(StoreAway, match="no credentials: has the instance a role"):
        DynamoDbStore(Cloud(), "podway", region="us-west-2", endpoint="http://127.0.0.1:9").version(
            "subnet-a"
        )
