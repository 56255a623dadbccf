"""The agent's memory is mostly modules: each thing that it does loads what that needs, and no more."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import podway_agent
import pytest

MODELS = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
SDK = {"botocore", "dateutil", "jmespath", "six", "urllib3"}
OF_THE_LIBRARY = {
    "podway.domain.addressing",
    "podway.wire.agent_item",
    "podway.wire.snapshot",
    "podway.wire.values",
}
ONLY_IF_WANTED = {"http.server", "podway_agent.kubernetes.api", "podway_agent.doctor.look", "yaml"}
HEAVY = {"asyncio", "boto3", "multiprocessing", "netaddr", "unittest", "moto"}

LIST = "; import sys; print(*sys.modules)"


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", statement + LIST], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def of_others(modules: set[str]) -> set[str]:
    """Packages that are not Python's own, nor ours."""
    tops = {name.partition(".")[0] for name in modules}
    known = sys.stdlib_module_names | {"podway", "podway_agent", "certifi"}
    return {top for top in tops - known if not top.startswith("_")}


def of_the_library(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("podway.") and name.count(".") == 2}


def test_the_agent_starts_without_the_sdk() -> None:
    modules = loaded_by("import podway_agent.agent")

    assert of_others(modules) == MODELS
    assert of_the_library(modules) == OF_THE_LIBRARY
    assert not modules & HEAVY
    assert not modules & ONLY_IF_WANTED


@pytest.mark.parametrize(
    "path", sorted(Path(podway_agent.__path__[0]).rglob("__init__.py")), ids=lambda path: path.parent.name
)
def test_a_room_loads_nothing_by_itself(path: Path) -> None:
    (said,) = ast.parse(path.read_text(encoding="utf-8")).body

    assert isinstance(said, ast.Expr)


def test_the_store_loads_of_the_sdk_what_signs_and_sends() -> None:
    modules = loaded_by("from podway_agent.store.client import Cloud; Cloud()")

    assert of_others(modules) == MODELS | SDK
    assert not modules & HEAVY


@pytest.mark.parametrize("command", ["status", "uninstall"])
def test_commands_that_ask_nobody_load_no_sdk(command: str) -> None:
    modules = loaded_by(
        f"import podway_agent.__main__, podway_agent.{'host.disk' if command == 'status' else command}"
    )

    assert of_others(modules) == MODELS
