"""The agent's view of the store: its subnet's snapshot to read, its own item to write."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from podway.wire.agent_item import AgentItem
from podway.wire.snapshot import PackedSnapshot

CONNECT_SECONDS = 2
READ_SECONDS = 3
ACCESS_DENIED = "AccessDeniedException"


class StoreAway(Exception):
    """The store did not answer, or refused; ask again later."""


class StoreRefused(StoreAway):
    """The store knows us by another identity than the one we spoke under."""


class Version(NamedTuple):
    """What the small version item says: enough to know whether the body is worth reading."""

    generation: int
    checksum: str


class Store(Protocol):
    """What the agent needs of the store. Each call raises StoreAway."""

    def version(self, subnet: str) -> Version | None:
        """The newest snapshot's version; None before there is one."""

    def body(self, subnet: str) -> PackedSnapshot | None:
        """The newest snapshot; None before there is one, or when it is no snapshot at all."""

    def report(self, item: AgentItem) -> None:
        """Write the agent's own item."""


class DynamoDbStore:
    """The store in DynamoDB, through botocore alone (boto3 would double the memory)."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    def version(self, subnet: str) -> Version | None:
        item = self._get(subnet, "version")
        if item is None:
            return None
        try:
            return Version(int(item["generation"]["N"]), item["checksum"]["S"])
        except (KeyError, ValueError) as error:
            raise StoreAway(f"version item of {subnet} is damaged: {error!r}") from error

    def body(self, subnet: str) -> PackedSnapshot | None:
        item = self._get(subnet, "body")
        if item is None:
            return None
        try:
            return PackedSnapshot(
                generation=int(item["generation"]["N"]),
                checksum=item["checksum"]["S"],
                body=item["body"]["B"],
            )
        except (KeyError, ValueError) as error:
            raise StoreAway(f"body item of {subnet} is damaged: {error!r}") from error

    def report(self, item: AgentItem) -> None:
        self._call("put_item", Item=_attributes(item))

    def _get(self, subnet: str, sort_key: str) -> dict[str, Any] | None:
        key = {"pk": {"S": f"snapshot#{subnet}"}, "sk": {"S": sort_key}}
        found: dict[str, Any] | None = self._call("get_item", Key=key).get("Item")
        return found

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (status needs no SDK)

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(TableName=self._table, **arguments)
        except ClientError as error:
            kind = StoreRefused if error.response["Error"]["Code"] == ACCESS_DENIED else StoreAway
            raise kind(str(error)) from error
        except BotoCoreError as error:
            raise StoreAway(str(error)) from error
        return answer


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
    }
    return {name: {"S": value} for name, value in text.items()} | {
        "generation": {"N": str(item.generation)},
        "suspecting": {"BOOL": item.suspecting},
        "suspects": {"L": [{"S": suspect} for suspect in item.suspects]},
    }


class Cloud:
    """The one botocore session: credentials by its own chain (the instance role, as a rule)."""

    def __init__(self) -> None:
        import botocore.session  # noqa: PLC0415  (status and uninstall need no SDK)
        from botocore.config import Config  # noqa: PLC0415

        self._session = botocore.session.get_session()
        self._config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1},  # the poller backs off by itself, with jitter
            max_pool_connections=1,
            parameter_validation=False,
            tcp_keepalive=True,
        )

    def dynamodb(self, *, region: str, endpoint: str) -> Any:
        """A client of DynamoDB."""
        return self._session.create_client(
            "dynamodb", region_name=region, endpoint_url=endpoint or None, config=self._config
        )

    def user_id(self, region: str) -> str:
        """``UserId`` that STS sees in our credentials. Raises StoreAway."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            client: Any = self._session.create_client("sts", region_name=region, config=self._config)
            return str(client.get_caller_identity()["UserId"])
        except (BotoCoreError, ClientError) as error:
            raise StoreAway(f"STS: {error}") from error
