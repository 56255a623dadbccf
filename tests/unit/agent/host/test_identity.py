from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from podway_agent.host.disk import IDENTITY, StateDirectory
from podway_agent.host.identity import ENDPOINT_VARIABLE, Identity, MetadataAway, identify

from tests.unit.agent.standins import Metadata

MAC = "02:00:00:00:00:0a"
TOLD = {
    "instance-id": "i-0a",
    "mac": MAC,
    "placement/region": "us-west-2",
    "local-ipv4": "10.0.0.10",
    f"network/interfaces/macs/{MAC}/subnet-id": "subnet-a",
}
SELF = Identity("i-0a", "subnet-a", "10.0.0.10", MAC, "us-west-2", "AROAX:i-0a")


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    monkeypatch.setenv(ENDPOINT_VARIABLE, f"http://127.0.0.1:{port}")
    with Metadata(listening, TOLD) as served:
        yield served


@pytest.fixture
def state(tmp_path_factory: pytest.TempPathFactory) -> StateDirectory:
    return StateDirectory(tmp_path_factory.mktemp("state"))


def sts(region: str) -> str:
    assert region == "us-west-2"
    return "AROAX:i-0a"


def never(region: str) -> str:
    raise AssertionError(f"asked STS in {region}")


def test_a_node_learns_who_it_is(metadata: Metadata, state: StateDirectory) -> None:
    assert identify(state, region="", role_id="", ask_sts=sts) == SELF


def test_once_known_only_the_instance_id_is_asked(metadata: Metadata, state: StateDirectory) -> None:
    identify(state, region="", role_id="", ask_sts=sts)
    metadata.asked.clear()

    assert identify(state, region="", role_id="", ask_sts=never) == SELF
    assert metadata.asked == ["instance-id"]


def test_with_the_roles_id_sts_is_not_needed(metadata: Metadata, state: StateDirectory) -> None:
    assert identify(state, region="", role_id="AROAX", ask_sts=never) == SELF


def test_an_identity_of_another_instance_is_refused(metadata: Metadata, state: StateDirectory) -> None:
    identify(state, region="", role_id="", ask_sts=sts)
    metadata.told["instance-id"] = "i-0b"

    found = identify(state, region="", role_id="", ask_sts=lambda _: "AROAX:i-0b")

    assert (found.instance, found.userid) == ("i-0b", "AROAX:i-0b")


def test_an_exchanged_role_is_learnt_when_the_disk_is_not_trusted(
    metadata: Metadata, state: StateDirectory
) -> None:
    identify(state, region="", role_id="", ask_sts=sts)

    identify(state, region="", role_id="", ask_sts=lambda _: "AROAY:i-0a", trust_disk=False)

    assert identify(state, region="", role_id="", ask_sts=never).userid == "AROAY:i-0a"


def test_another_role_id_in_the_settings_wins_over_the_disk(
    metadata: Metadata, state: StateDirectory
) -> None:
    identify(state, region="", role_id="AROAX", ask_sts=never)

    assert identify(state, region="", role_id="AROAY", ask_sts=never).userid == "AROAY:i-0a"


def test_credentials_that_are_not_the_instances_are_refused(
    metadata: Metadata, state: StateDirectory
) -> None:
    with pytest.raises(MetadataAway, match="AIDAUSER"):
        identify(state, region="", role_id="", ask_sts=lambda _: "AIDAUSER")
    assert state.read(IDENTITY) is None


def test_a_damaged_cache_is_asked_again(metadata: Metadata, state: StateDirectory) -> None:
    state.write(IDENTITY, {"instance": "i-0a"})

    assert identify(state, region="", role_id="", ask_sts=sts) == SELF


def test_a_service_that_is_away_says_so(state: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, "http://127.0.0.1:1")

    with pytest.raises(MetadataAway):
        identify(state, region="", role_id="", ask_sts=sts)
