"""``docs/contract/README.md`` has every field of both documents in its tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path("docs/contract")


def fields(schema: object) -> Iterator[str]:
    """Each property's name, as often as the schema has one of that name."""
    if isinstance(schema, dict):
        properties: dict[str, Any] = schema.get("properties", {})
        yield from properties
        for part in schema.values():
            yield from fields(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from fields(part)


@pytest.mark.parametrize(("document", "number"), [("cluster", 0), ("plan", 1)])
def test_the_tables_have_every_field_of_the_schema(document: str, number: int) -> None:
    tables = (FOLDER / "README.md").read_text(encoding="utf-8").split("| field |")[1:]
    rows = re.findall(r"^\| `(\w+)`", tables[number].partition("\n\n")[0], re.MULTILINE)

    schema = json.loads((FOLDER / f"{document}.schema.json").read_text(encoding="utf-8"))

    assert sorted(rows) == sorted(fields(schema))
