"""What the fabric's tests need of the machine, asked once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from podway_lab.fabric.entry import NoNamespaces, gain_privileges
from podway_lab.fabric.fabric import Fabric
from podway_lab.fabric.namespace import new_namespace

from tests.lab.handmade import Cluster

OBSTACLE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Gain the right to make namespaces before anything here starts a thread."""
    try:
        gain_privileges()
    except NoNamespaces as error:
        config.stash[OBSTACLE] = str(error)


@pytest.fixture(autouse=True)
def _namespaces(request: pytest.FixtureRequest) -> None:
    """Tests of the fabric run where there are namespaces; elsewhere they say why they do not."""
    obstacle = request.config.stash.get(OBSTACLE, "")
    if not obstacle or request.node.get_closest_marker("fabric") is None:
        return
    if os.environ.get("NO_SKIPS"):
        pytest.fail(f"no network namespaces here: {obstacle}")
    raise pytest.skip.Exception(f"no network namespaces here: {obstacle}", _use_item_location=True)


@pytest.fixture
def fabric() -> Iterator[Fabric]:
    """A fabric whose router is a namespace of its own: the tests' process stays where it is."""
    with Fabric(new_namespace()) as fabric:
        yield fabric


@pytest.fixture
def cluster(fabric: Fabric) -> Cluster:
    """Three subnets of two nodes with a pod each; supernets' routes lead to the first node of each."""
    return Cluster(fabric)
