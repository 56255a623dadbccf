"""The wheel asks for what ``requirements`` pins: the same names, in ranges that hold the pinned versions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REQUIREMENTS = Path("requirements")
PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
DECLARED: dict[str, Sequence[str]] = {"cli": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
"""By the requirements file that pins them: the command needs no extra."""


def own(name: str) -> Iterator[Requirement]:
    """What *name*'s file asks for itself, without the files that it includes."""
    for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines():
        if asked := line.partition("#")[0].strip():
            included = asked.removeprefix("-r ")
            if included == asked:
                yield Requirement(asked)
            elif included == "runtime.in":
                yield from own("runtime")


def pinned(name: str) -> dict[str, str]:
    """Versions by package."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize("name", DECLARED)
def test_the_wheel_declares_what_the_requirements_pin_in_ranges_that_hold_it(name: str) -> None:
    declared = {one.name: one for one in map(Requirement, DECLARED[name]) if one.name != PROJECT["name"]}
    wanted = {one.name: one for one in own(name)}

    assert declared.keys() == wanted.keys()
    for package, range_ in declared.items():
        assert range_.extras == wanted[package].extras
        assert {one.operator for one in range_.specifier} == {">=", "<"}, range_
        assert range_.specifier.contains(pinned(name)[package]), range_


def test_the_lab_needs_the_agent_s_packages_in_the_wheel_as_in_the_requirements() -> None:
    assert f"{PROJECT['name']}[agent]" in DECLARED["lab"]
    assert "-r agent.in\n" in (REQUIREMENTS / "lab.in").read_text()
