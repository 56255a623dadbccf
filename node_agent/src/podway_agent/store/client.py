"""Calls the store: reads the subnet's snapshot, writes the agent's own item.

Store sync and doctor call it; agent and doctor ask STS through `Cloud`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from functools import cache, cached_property
from typing import Any, NamedTuple, Protocol

from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot

_TIMEOUT_SECONDS = 3
"""For connecting, and for each part of the answer."""
_HTTP_OK = 200
ACCESS_DENIED = "AccessDeniedException"


class StoreAway(Exception):
    """The store did not answer, or refused; ask again later."""


class StoreRefused(StoreAway):
    """The store refuses our identity: find out anew who we are."""


class Version(NamedTuple):
    """What the small version item says. It tells whether the body is worth reading."""

    generation: int
    checksum: str
    epoch: int = 1
    """The store's life. It may be told before there is a snapshot of it."""


class Store(Protocol):
    """What the agent needs of the store. Each call raises StoreAway, and is safe to repeat."""

    def version(self, subnet: str) -> Version | None:
        """The newest snapshot's version; None before there is one."""

    def body(self, subnet: str) -> PackedSnapshot | None:
        """The newest snapshot; None before there is one."""

    def report(self, item: AgentItem) -> None:
        """Replace the agent's own item. A call that was cut off may or may not have written it."""


class DynamoDbStore:
    """The store in DynamoDB: two operations of its JSON protocol.

    The SDK signs, but its client is not used: the client's models would cost each node 12 MB, and
    each start 0.2 s of CPU.
    """

    def __init__(self, cloud: Cloud, table: str, *, region: str, endpoint: str) -> None:
        self._cloud = cloud
        self._table = table
        self._region = region
        self._url = endpoint or endpoint_url("dynamodb", region)

    def version(self, subnet: str) -> Version | None:
        item = self._get(subnet, "version")
        if item is None:
            return None
        try:
            return Version(int(item["generation"]["N"]), item["checksum"]["S"], _epoch(item))
        except (KeyError, TypeError, ValueError) as error:
            raise StoreAway(f"version item of {subnet} is damaged: {error!r}") from error

    def body(self, subnet: str) -> PackedSnapshot | None:
        item = self._get(subnet, "body")
        if item is None:
            return None
        try:
            return PackedSnapshot(
                generation=int(item["generation"]["N"]),
                epoch=_epoch(item),
                checksum=item["checksum"]["S"],
                body=base64.b64decode(item["body"]["B"], validate=True),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreAway(f"body item of {subnet} is damaged: {error!r}") from error

    def report(self, item: AgentItem) -> None:
        self._call("PutItem", Item=_attributes(item))

    def _get(self, subnet: str, sort_key: str) -> dict[str, Any] | None:
        key = {"pk": {"S": f"snapshot#{subnet}"}, "sk": {"S": sort_key}}
        found: dict[str, Any] | None = self._call("GetItem", Key=key).get("Item")
        return found

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        asked = CloudRequest(
            service="dynamodb",
            region=self._region,
            url=self._url,
            body=json.dumps({"TableName": self._table, **arguments}).encode(),
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            },
        )
        status, text = self._cloud.send(asked)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status == _HTTP_OK and isinstance(answer, dict):
            return answer
        said = answer if isinstance(answer, dict) else {}
        fault = str(said.get("__type", "")).rpartition("#")[2] or f"status {status}"
        complaint = f"{operation}: {fault} {said.get('message', said.get('Message', ''))}".strip()
        raise (StoreRefused if fault == ACCESS_DENIED else StoreAway)(complaint)


class LateStore:
    """The store in DynamoDB, made when it is first used: the kernel does not wait for the SDK to load."""

    def __init__(self, table: str, *, region: str, endpoint: str) -> None:
        self._table, self._region, self._endpoint = table, region, endpoint

    @cached_property
    def _store(self) -> Store:
        return DynamoDbStore(cloud(), self._table, region=self._region, endpoint=self._endpoint)

    def version(self, subnet: str) -> Version | None:
        return self._store.version(subnet)

    def body(self, subnet: str) -> PackedSnapshot | None:
        return self._store.body(subnet)

    def report(self, item: AgentItem) -> None:
        self._store.report(item)


def _epoch(item: dict[str, Any]) -> int:
    """The epoch of a snapshot's item; those from before there were epochs are of the first."""
    return int(item["epoch"]["N"]) if "epoch" in item else 1


def _attributes(item: AgentItem) -> dict[str, Any]:
    """The item as DynamoDB spells it."""
    text = {
        "pk": item.pk,
        "sk": item.sk,
        "reports": item.reports,
        "instance": item.instance,
        "subnet": item.subnet,
        "heartbeat": item.heartbeat.isoformat(),
        "cause": item.cause,
        "version": item.version,
        "boot": item.boot,
    }
    held = {} if item.blocks is None else {"blocks": {"L": [{"S": str(one)} for one in item.blocks]}}
    return (
        {name: {"S": value} for name, value in text.items()}
        | held
        | {
            "epoch": {"N": str(item.epoch)},
            "generation": {"N": str(item.generation)},
            "blocks_wanted": {"N": str(item.blocks_wanted)},
            "suspecting": {"BOOL": item.suspecting},
            "suspects": {"L": [{"S": suspect} for suspect in item.suspects]},
            "causes": {"L": [{"S": one} for one in item.causes]},
        }
    )


def endpoint_url(service: str, region: str) -> str:
    """The address of *service*: by the SDK's own variables, or AWS's regional endpoint."""
    for variable in (f"AWS_ENDPOINT_URL_{service.upper()}", "AWS_ENDPOINT_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{suffix}"


class CloudRequest(NamedTuple):
    """One request to AWS, not yet signed."""

    service: str
    region: str
    url: str
    body: bytes
    headers: dict[str, str]


class Cloud:
    """Requests signed with the credentials that the SDK's own chain finds: as a rule the instance role's."""

    def __init__(self) -> None:
        import botocore.session  # noqa: PLC0415  (status and uninstall need no SDK)
        from botocore.httpsession import URLLib3Session  # noqa: PLC0415

        self._session = botocore.session.get_session()
        self._http = URLLib3Session(timeout=_TIMEOUT_SECONDS, max_pool_connections=1)

    def send(self, asked: CloudRequest) -> tuple[int, str]:
        """Status and text of the answer; one attempt. Raises StoreAway."""
        from botocore.auth import SigV4Auth  # noqa: PLC0415
        from botocore.awsrequest import AWSRequest  # noqa: PLC0415
        from botocore.exceptions import BotoCoreError, HTTPClientError  # noqa: PLC0415

        request = AWSRequest(method="POST", url=asked.url, data=asked.body, headers=asked.headers)
        try:
            credentials = self._session.get_credentials()
            if credentials is None:
                raise StoreAway("no credentials: has the instance a role?")
            SigV4Auth(credentials.get_frozen_credentials(), asked.service, asked.region).add_auth(request)
            answer = self._http.send(request.prepare())
        except (BotoCoreError, HTTPClientError) as error:
            raise StoreAway(f"{asked.service}: {error}") from error
        return answer.status_code, answer.text

    def user_id(self, region: str) -> str:
        """``UserId`` that STS sees in our credentials. Raises StoreAway."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        status, text = self.send(CloudRequest("sts", region, endpoint_url("sts", region), body, form))
        found = re.search(r"<UserId>([^<]+)</UserId>", text)
        if status != _HTTP_OK or found is None:
            raise StoreAway(f"GetCallerIdentity: status {status}")
        return found[1]


@cache
def cloud() -> Cloud:
    """The process's one SDK session, made when it is first used."""
    return Cloud()
