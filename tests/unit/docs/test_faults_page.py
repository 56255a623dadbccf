"""``docs/faults.md`` names every trigger and fault, and tests that exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from podway.app import errors
from podway.domain.model import StayReason
from podway_lab.stack.template import Place, Template

from tests.simulation.faults import FAULTS

PAGE = Path("docs/faults.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", PAGE)))


@cache
def known_tests(path: str) -> frozenset[str]:
    tree = ast.parse((Path("tests") / path).read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


def rules() -> Iterator[str]:
    """Rules and mappings by the names that the template gives them."""
    template = Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())
    functions = [name.removesuffix("Function") for name in template.functions()]
    for kind in ("AWS::Events::Rule", "AWS::Lambda::EventSourceMapping"):
        for name in template.names(kind):
            yield re.sub(f"^({'|'.join(functions)})Function", "", name)


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_the_page_names_exists(path: str, name: str) -> None:
    assert name in known_tests(path)


def test_every_rule_and_mapping_is_on_the_page() -> None:
    assert [name for name in rules() if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_the_simulation_is_on_the_page(fault: str) -> None:
    assert fault in PAGE


def test_every_failure_of_the_use_cases_is_on_the_page() -> None:
    kinds = [
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, errors.PodwayError) and one is not errors.PodwayError
    ]

    assert [name for name in kinds if f"`{name}`" not in PAGE] == []
    assert [why for why in StayReason if f"`{why}`" not in PAGE] == []
