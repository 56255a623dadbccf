from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from podway_lab.region.changes import AlarmStateChanged
from podway_lab.region.errors import code_of
from podway_lab.region.faults import Kind
from podway_lab.region.identities import Identity
from podway_lab.region.model import StrictEC2
from podway_lab.region.server import RegionServer

TABLE = "podway"


class Account:
    """A server, and clients of it under anybody's key."""

    def __init__(self, server: RegionServer) -> None:
        self.server = server

    def client(self, service: str, identity: Identity | None = None) -> Any:
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            region_name="us-west-2",
            endpoint_url=self.server.url,
            aws_access_key_id=identity.access_key if identity else "operator",
            aws_secret_access_key="unchecked",
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def shared() -> Iterator[Account]:
    with RegionServer() as server:
        account = Account(server)
        account.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield account


@pytest.fixture
def account(shared: Account) -> Account:
    shared.server.serve(StrictEC2())
    return shared


def put(dynamodb: Any, pk: str, sk: str = "agent") -> Any:
    return dynamodb.put_item(TableName=TABLE, Item={"pk": {"S": pk}, "sk": {"S": sk}})


def get(dynamodb: Any, pk: str, sk: str = "agent") -> Any:
    return dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": pk}, "sk": {"S": sk}})


def denied(call: Any, *args: Any, **given: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(*args, **given)
    return code_of(caught.value)


def test_an_instance_is_known_by_its_key(account: Account) -> None:
    node = account.server.identities.instance("i-1", "podway-node")

    told = account.client("sts", node).get_caller_identity()

    assert told["UserId"] == node.user_id
    assert node.user_id.startswith("AROA")
    assert node.user_id.endswith(":i-1")
    assert told["Arn"] == "arn:aws:sts::123456789012:assumed-role/podway-node/i-1"
    assert account.client("sts").get_caller_identity()["Arn"].endswith(":user/operator")


def test_an_instance_writes_its_own_item_and_nobody_elses(account: Account) -> None:
    node = account.server.identities.instance("i-1")
    other = account.server.identities.instance("i-2")
    dynamodb = account.client("dynamodb", node)

    put(dynamodb, node.user_id)

    assert get(dynamodb, node.user_id)["Item"]["sk"] == {"S": "agent"}
    for foreign in (other.user_id, "snapshot#subnet-1", "inventory"):
        assert denied(put, dynamodb, foreign) == "AccessDeniedException"
    assert "Item" not in get(account.client("dynamodb"), other.user_id)


def test_an_instance_reads_snapshots_and_itself(account: Account) -> None:
    dynamodb = account.client("dynamodb", account.server.identities.instance("i-1"))
    put(account.client("dynamodb"), "snapshot#subnet-1", "version")

    assert get(dynamodb, "snapshot#subnet-1", "version")["Item"]["sk"] == {"S": "version"}
    queried = dynamodb.query(
        TableName=TABLE,
        KeyConditionExpression="#k = :k",
        ExpressionAttributeNames={"#k": "pk"},
        ExpressionAttributeValues={":k": {"S": "snapshot#subnet-1"}},
    )
    assert queried["Count"] == 1
    assert denied(get, dynamodb, "inventory") == "AccessDeniedException"
    assert denied(dynamodb.scan, TableName=TABLE) == "AccessDeniedException"
    assert denied(dynamodb.delete_item, TableName=TABLE, Key={"pk": {"S": "x"}, "sk": {"S": "y"}})


def test_an_instance_may_call_nothing_else(account: Account) -> None:
    node = account.server.identities.instance("i-1")

    assert denied(account.client("ec2", node).describe_vpcs) == "UnauthorizedOperation"
    assert denied(account.client("sqs", node).list_queues) == "AccessDeniedException"
    assert denied(account.client("autoscaling", node).describe_auto_scaling_groups) == "AccessDeniedException"
    assert denied(account.client("cloudwatch", node).describe_alarms) == "AccessDeniedException"


def test_a_function_calls_under_its_own_name(account: Account) -> None:
    function = account.server.identities.function("failover")

    account.client("ec2", function).describe_vpcs()
    get(account.client("dynamodb", function), "inventory")

    calls = [call.action for call in account.server.ec2.calls.made(caller="failover")]
    assert calls == ["ec2:DescribeVpcs", "dynamodb:GetItem"]


def test_a_refused_write_of_the_store_is_logged_with_its_error(account: Account) -> None:
    dynamodb = account.client("dynamodb")
    put(dynamodb, "lease")

    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        dynamodb.put_item(
            TableName=TABLE,
            Item={"pk": {"S": "lease"}, "sk": {"S": "agent"}},
            ConditionExpression="attribute_not_exists(pk)",
        )

    errors = [call.error for call in account.server.ec2.calls.made("dynamodb:PutItem")]
    assert errors == ["", "ConditionalCheckFailedException"]


def test_writes_beside_refused_transactions_are_kept(account: Account) -> None:
    key = {"pk": {"S": "beside"}, "sk": {"S": "0"}}
    account.client("dynamodb").put_item(TableName=TABLE, Item={**key, "much": {"L": [{"S": "x"}] * 20_000}})
    refused = {"Put": {"TableName": TABLE, "Item": key, "ConditionExpression": "attribute_not_exists(pk)"}}
    refusals: list[str] = []

    def transact() -> None:
        client = account.client("dynamodb")
        for _ in range(10):
            with pytest.raises(ClientError) as error:
                client.transact_write_items(TransactItems=[refused])
            refusals.append(code_of(error.value))

    def write(writer: int) -> None:
        client = account.client("dynamodb")
        for number in range(10):
            item = {"pk": {"S": "beside"}, "sk": {"S": f"{writer}-{number}"}}
            client.put_item(TableName=TABLE, Item=item)

    with ThreadPoolExecutor() as pool:
        for each in [pool.submit(transact), *(pool.submit(write, writer) for writer in (1, 2))]:
            each.result()

    found = account.client("dynamodb").query(
        TableName=TABLE,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": key["pk"]},
        Select="COUNT",
    )
    assert refusals == ["TransactionCanceledException"] * 10
    assert found["Count"] == 21


def test_the_quota_of_routes_is_the_models(account: Account) -> None:
    ec2, quotas = account.server.ec2, account.client("service-quotas")
    ec2.settings = replace(ec2.settings, route_quota=42)

    told = quotas.get_service_quota(ServiceCode="vpc", QuotaCode="L-93826ACB")["Quota"]

    assert (told["Value"], told["QuotaName"]) == (42.0, "Routes per route table")
    other = denied(quotas.get_service_quota, ServiceCode="vpc", QuotaCode="L-589F43AA")
    assert other == "NoSuchResourceException"


def put_alarm(cloudwatch: Any, name: str, threshold: float = 0.0) -> None:
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/EC2",
        MetricName="StatusCheckFailed",
        Dimensions=[{"Name": "InstanceId", "Value": "i-1"}],
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=2,
        Period=60,
        Statistic="Maximum",
        Threshold=threshold,
    )


def test_an_alarm_begins_without_data_and_its_changes_are_told(account: Account) -> None:
    told: list[Any] = []
    account.server.ec2.subscribe(told.append)
    cloudwatch = account.client("cloudwatch")

    put_alarm(cloudwatch, "a")
    began = cloudwatch.describe_alarms(AlarmNames=["a"])["MetricAlarms"][0]["StateValue"]
    for _ in range(2):
        cloudwatch.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="it is down")
    put_alarm(cloudwatch, "a", threshold=1.0)
    kept = cloudwatch.describe_alarms(AlarmNames=["a"])["MetricAlarms"][0]

    assert began == "INSUFFICIENT_DATA"
    assert (kept["StateValue"], kept["Threshold"]) == ("ALARM", 1.0)
    (change,) = told
    assert isinstance(change, AlarmStateChanged)
    assert (change.alarm, change.previous, change.state) == ("a", "INSUFFICIENT_DATA", "ALARM")
    assert (change.reason, change.dimensions) == ("it is down", {"InstanceId": "i-1"})
    assert (change.namespace, change.metric, change.period) == ("AWS/EC2", "StatusCheckFailed", 60)


def test_a_lost_reply_over_http_is_a_closed_connection(account: Account) -> None:
    ec2 = account.client("ec2")
    account.server.ec2.faults.arm(Kind.LOST_REPLY, action="ec2:CreateVpc", times=1)

    with pytest.raises(ConnectionClosedError):
        ec2.create_vpc(CidrBlock="10.0.0.0/16")

    assert len(account.server.ec2.state.vpcs) == 1


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [(Kind.THROTTLED, "ThrottlingException", 400), (Kind.BROKEN, "InternalServerError", 500)],
)
def test_faults_strike_the_store_as_well(account: Account, kind: Kind, code: str, status: int) -> None:
    account.server.ec2.faults.arm(kind, action="dynamodb:*", times=1)

    with pytest.raises(ClientError) as caught:
        get(account.client("dynamodb"), "inventory")

    assert code_of(caught.value) == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    get(account.client("dynamodb"), "inventory")


def test_many_calls_share_one_connection(account: Account) -> None:
    connection = http.client.HTTPConnection(urlsplit(account.server.url).netloc, timeout=30)
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=key/20261122/us-west-2/sts/aws4_request, Signature=x",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection.connect()
    socket = connection.sock

    for _ in range(3):
        connection.request("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers)
        answer = connection.getresponse()
        assert (answer.status, b"user/operator" in answer.read()) == (200, True)

    assert connection.sock is socket
    connection.close()


def test_everything_else_is_motos(account: Account) -> None:
    sqs = account.client("sqs")
    queue = sqs.create_queue(QueueName="hints.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    sqs.send_message(QueueUrl=queue, MessageBody="{}", MessageGroupId="g", MessageDeduplicationId="d")
    s3 = account.client("s3")
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket="code", Key="k", Body=json.dumps({"a": 1}).encode())

    assert len(sqs.receive_message(QueueUrl=queue)["Messages"]) == 1
    assert s3.get_object(Bucket="code", Key="k")["Body"].read() == b'{"a": 1}'


def test_a_new_server_remembers_nothing_and_a_stopped_one_answers_nobody() -> None:
    first = RegionServer()
    first.start()
    sqs = Account(first).client("sqs")
    sqs.create_queue(QueueName="q")
    first.stop()

    with pytest.raises(Exception, match=r"connect|closed"):
        sqs.list_queues()
    with RegionServer() as second:
        assert "QueueUrls" not in Account(second).client("sqs").list_queues()
