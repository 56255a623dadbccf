"""Reads cluster documents for the offline commands. A fault ends the command with exit code 2.

Documents may be hostile, so their size, nesting, keys and aliases are limited.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from podway.domain.model import Cluster
from podway.wire.cluster import DocumentRefusedError, parse_cluster

MOST_BYTES = 128 * 1024 * 1024
"""The largest document. One of 100,000 nodes has some 30 MB."""
MOST_VALUES = 20_000_000
"""The most values once aliases are written out. A few lines of YAML can make billions."""
DEEPEST = 100
"""The most levels of nesting. A cluster document has five."""
MOST_KEYS = 1000
"""The most keys of a mapping, merged ones included. Merges of merges can make billions."""


class RefusedError(click.ClickException):
    """Unusable input. Its message is printed as it is, without a traceback."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """One line per fault on standard error."""
        del file
        click.echo(self.message, err=True)


def read_cluster(name: str) -> Cluster:
    """The cluster in the file *name* (``-``: standard input). Raises RefusedError."""
    try:
        text = _read(name).decode("utf-8-sig")
    except OSError as error:
        raise RefusedError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise RefusedError(f"{name}: not UTF-8 text (byte {error.start})") from None
    except ValueError:  # a zero byte in a path
        raise RefusedError(f"{name!r}: not a file name") from None
    document = _parsed(name, text)
    if _values(document) > MOST_VALUES:
        raise RefusedError(f"{name}: its aliases make more than {MOST_VALUES} values, or repeat themselves")
    try:
        return parse_cluster(document)
    except DocumentRefusedError as error:
        raise RefusedError(str(error)) from None


def _read(name: str) -> bytes:
    if name == "-":
        found = sys.stdin.buffer.read(MOST_BYTES + 1)
    else:
        with Path(name).open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise RefusedError(f"{name}: larger than {MOST_BYTES} bytes")
    return found


def _parsed(name: str, text: str) -> Any:
    """The document. JSON is read as JSON, which is faster and allows tabs. Anything else is read as YAML."""
    problem = ""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_no_key_twice)
        except json.JSONDecodeError as error:
            problem = f"{name}:{error.lineno}: {error.msg}"
        except (ValueError, RecursionError) as error:
            raise RefusedError(f"{name}: {_first_line(error)}") from None
    try:
        return _load_yaml(text)
    except yaml.MarkedYAMLError as error:
        place = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        found = f"{name}{place}: {error.problem or 'not YAML'}"
        raise RefusedError(problem if problem and name.endswith(".json") else found) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RefusedError(problem or f"{name}: neither YAML nor JSON: {_first_line(error)}") from None


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(
            f"{next(key for number, key in enumerate(keys) if key in keys[:number])} stands twice"
        )
    return found


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _values(document: Any) -> int:
    """How many values there are with every alias written out. It looks at each shared part once.

    A mapping or list inside itself counts as too many.
    """
    counts: dict[int, int] = {}
    under_way: set[int] = set()
    stack: list[tuple[Any, bool]] = [(document, False)]
    while stack:
        value, inside_is_counted = stack.pop()
        if inside_is_counted:
            under_way.discard(id(value))
            counts[id(value)] = 1 + sum(counts.get(id(one), 1) for one in _inside(value))
        elif isinstance(value, dict | list) and id(value) not in counts:
            if id(value) in under_way:
                return MOST_VALUES + 1
            under_way.add(id(value))
            stack.append((value, True))
            stack.extend((one, False) for one in _inside(value) if isinstance(one, dict | list))
    return counts.get(id(document), 1)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506  (_Loader is a SafeLoader)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's is ten times faster
    """Refuses too deep nesting, and a key that is there twice: YAML would silently take the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._looked_at: set[int] = set()

    def descend_resolver(self, *where: object) -> None:
        """PyYAML calls it for every value before those inside it. libyaml has no limit but the stack."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {DEEPEST}")
        super().descend_resolver(*where)

    def ascend_resolver(self) -> None:
        """PyYAML calls it after the values inside."""
        self._depth -= 1
        super().ascend_resolver()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """PyYAML calls it for every mapping, before the keys that it merges in (``<<``) are among its own."""
        if id(node) not in self._looked_at:
            self._looked_at.add(id(node))
            _refuse_key_twice(node)
        super().flatten_mapping(node)
        if len(node.value) > MOST_KEYS:
            raise yaml.YAMLError(f"a mapping has more than {MOST_KEYS} keys")


def _refuse_key_twice(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands twice", key.start_mark
                )
            seen.add(key.value)


for _tag in ("set", "omap", "pairs", "binary"):  # YAML's, not JSON's: no field takes them
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", yaml.SafeLoader.construct_undefined)
