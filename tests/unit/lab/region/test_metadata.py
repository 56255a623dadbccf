from __future__ import annotations

import json
import socket
import urllib.request
from urllib.error import HTTPError

import pytest
from podway_lab.region.identities import Identities
from podway_lab.region.metadata import Metadata, serve_metadata
from werkzeug.test import Client

from tests.unit.lab.region.worlds import Small

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"


class Inside:
    """What a process on the instance sees."""

    def __init__(self, small: Small, **more: object) -> None:
        self.small = small
        self.instance, self.interface = small.launch(**more)
        self.identities = Identities()
        self.http = Client(Metadata(self.instance, ec2=small.region, identities=self.identities).wsgi)
        self.token = self.http.put("/latest/api/token", headers={TTL: "60"}).text

    def read(self, path: str) -> str:
        answer = self.http.get(f"/latest/{path}", headers={TOKEN: self.token})
        assert answer.status_code == 200, f"{path}: {answer.status}"
        return answer.text

    def status(self, path: str, **headers: str) -> int:
        return self.http.get(f"/latest/{path}", headers=headers or {TOKEN: self.token}).status_code


def test_an_instance_reads_who_and_where_it_is() -> None:
    inside = Inside(Small(), PrivateIpAddress="10.0.0.9")

    mac = inside.read("meta-data/mac")
    network = f"meta-data/network/interfaces/macs/{mac}"

    assert inside.read("meta-data/instance-id") == inside.instance
    assert inside.read("meta-data/local-ipv4") == "10.0.0.9"
    assert inside.read("meta-data/placement/availability-zone") == "us-west-2a"
    assert inside.read("meta-data/placement/region") == "us-west-2"
    assert inside.read(f"{network}/interface-id") == inside.interface
    assert inside.read(f"{network}/subnet-id") == inside.small.subnet
    assert inside.read(f"{network}/subnet-ipv4-cidr-block") == "10.0.0.0/20"
    assert inside.read(f"{network}/vpc-id") == inside.small.vpc
    assert inside.read(f"{network}/vpc-ipv4-cidr-blocks") == "10.0.0.0/16"
    document = json.loads(inside.read("dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"]) == (inside.instance, "us-west-2")


def test_directories_list_what_is_in_them() -> None:
    inside = Inside(Small())

    assert inside.read("meta-data/placement/") == "availability-zone\nregion"
    assert inside.read("meta-data/network/interfaces/macs/") == inside.read("meta-data/mac") + "/"
    assert "network/" in inside.read("meta-data").splitlines()
    assert inside.status("meta-data/nothing") == 404


def test_nothing_is_read_without_a_token_that_is_still_good() -> None:
    inside = Inside(Small())

    assert inside.status("meta-data/instance-id", Accept="*/*") == 401
    assert inside.status("meta-data/instance-id", **{TOKEN: "forged"}) == 401
    inside.small.clock.pass_(59)
    assert inside.status("meta-data/instance-id") == 200
    inside.small.clock.pass_(1)
    assert inside.status("meta-data/instance-id") == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({TTL: "0"}, 400),
        ({TTL: "21601"}, 400),
        ({TTL: "soon"}, 400),
        ({TTL: "60", "X-Forwarded-For": "10.0.0.1"}, 403),
    ],
)
def test_no_token_for_a_bad_lifetime_or_through_a_proxy(headers: dict[str, str], status: int) -> None:
    inside = Inside(Small())

    assert inside.http.put("/latest/api/token", headers=headers).status_code == status


def test_the_role_of_an_instance_has_credentials_that_the_region_knows() -> None:
    inside = Inside(Small(), IamInstanceProfile={"Name": "podway-node"})

    role = inside.read("meta-data/iam/security-credentials/")
    credentials = json.loads(inside.read(f"meta-data/iam/security-credentials/{role}"))

    assert role == "podway-node"
    assert credentials["Code"] == "Success"
    assert credentials["Expiration"] == "2026-11-22T18:00:00Z"
    identity = inside.identities.of(credentials["AccessKeyId"])
    assert (identity.kind, identity.name) == ("instance", inside.instance)
    info = json.loads(inside.read("meta-data/iam/info"))
    assert info["InstanceProfileArn"].endswith(":instance-profile/podway-node")


def test_an_instance_without_a_profile_has_no_credentials() -> None:
    assert Inside(Small()).status("meta-data/iam/security-credentials/") == 404


def test_tags_are_read_as_they_are_now() -> None:
    inside = Inside(Small())

    inside.small.ec2.create_tags(
        Resources=[inside.instance], Tags=[{"Key": "podway:cluster", "Value": "demo"}]
    )

    assert inside.read("meta-data/tags/instance/") == "podway:cluster"
    assert inside.read("meta-data/tags/instance/podway:cluster") == "demo"


def test_it_is_served_on_a_socket_that_somebody_else_opened() -> None:
    small = Small()
    node, _ = small.launch()
    sock = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/latest"
    service = serve_metadata(sock, node, ec2=small.region, identities=Identities())

    asked = urllib.request.Request(f"{url}/api/token", method="PUT", headers={TTL: "60"})
    token = urllib.request.urlopen(asked, timeout=30).read().decode()
    read = urllib.request.Request(f"{url}/meta-data/instance-id", headers={TOKEN: token})

    assert urllib.request.urlopen(read, timeout=30).read().decode() == node
    with pytest.raises(HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/meta-data/instance-id", timeout=30)
    service.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(read, timeout=30)
