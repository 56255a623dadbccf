"""A room loads nothing by itself: what a failover imports is what it names, file by file."""

from __future__ import annotations

import ast
from pathlib import Path

import podway.domain
import pytest

DOMAIN = Path(podway.domain.__path__[0])
ROOMS = sorted(str(found.relative_to(DOMAIN)) for found in DOMAIN.rglob("__init__.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_imports_nothing(room: str) -> None:
    tree = ast.parse((DOMAIN / room).read_text())

    assert ast.get_docstring(tree)
    assert len(tree.body) == 1, "a room's __init__ has nothing but its docstring"
