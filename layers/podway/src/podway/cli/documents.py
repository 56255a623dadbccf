"""Reading cluster documents; any fault ends the command with exit code 2 and a line per fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import yaml

from podway.domain.model import Cluster
from podway.wire.cluster import DocumentRefusedError, parse_cluster


class RefusedError(click.ClickException):
    """Unusable input: its message is printed as it is, without a traceback."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """One line per fault on standard error."""
        del file
        click.echo(self.message, err=True)


def read_cluster(name: str) -> Cluster:
    """The cluster in the file *name* (``-``: standard input). Raises RefusedError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RefusedError(f"{name}: not UTF-8 text") from None
    try:
        return parse_cluster(_parsed(name, text))
    except DocumentRefusedError as error:
        raise RefusedError(str(error)) from None


def _parsed(name: str, text: str) -> object:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # flow-style YAML begins the same way, and its parser names the place
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (_Loader is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise RefusedError(f"{name}{place}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RefusedError(f"{name}: neither YAML nor JSON: {str(error).splitlines()[0]}") from None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's is ten times faster
    """Refuses a key that stands twice: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        found: dict[object, object] = super().construct_mapping(node, deep)
        return found
