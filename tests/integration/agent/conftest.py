"""A node for each test: a namespace with an interface, and nothing of the machine's own in reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.agent.node import Node
from tests.lab.conftest import _namespaces, fabric, pytest_configure

__all__ = ["_namespaces", "fabric", "pytest_configure"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path) as made:
        yield made
