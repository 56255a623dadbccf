"""YAML's and JSON's traps: each ends with exit code 2 and a line that says what is wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import yaml
from podway.cli import documents
from podway.cli.documents import RefusedError, read_cluster

from tests.unit.wire.documents import GOOD

YAML = yaml.safe_dump(GOOD, sort_keys=False)


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    with pytest.raises(RefusedError) as caught:
        read_cluster(str(path))
    assert "\n" not in caught.value.message.removesuffix("\n") or content == YAML
    return caught.value.message.removeprefix(f"{path}")


def bomb(levels: int) -> str:
    """Ten times as many values with every level."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {" + ", ".join(f"k{n}: x" for n in range(10)) + "}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize("spelling", ["yaml", "json", "flow", "tabs", "mark"])
def test_yaml_and_json_say_the_same(spelling: str, tmp_path: Path) -> None:
    texts = {
        "yaml": YAML,
        "json": json.dumps(GOOD),
        "flow": yaml.safe_dump(GOOD, default_flow_style=True),
        "tabs": json.dumps(GOOD, indent="\t"),
        "mark": "\ufeff" + json.dumps(GOOD),
    }
    path = tmp_path / "cluster"
    path.write_text(texts[spelling], encoding="utf-8")

    assert read_cluster(str(path)).nodes[1].weight == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "expected a mapping, not nothing"),
        ("# nothing but a comment", "expected a mapping, not nothing"),
        ("- a\n- b", "expected a mapping, not a list"),
        ("cluster: x\ncluster: y\n", ":2: cluster stands twice"),
        ('{"cluster": 1, "cluster": 2}', ": cluster stands twice"),
        (b"cluster: \xff\xfe", "not UTF-8 text (byte 9)"),
        (bomb(20), "aliases make more than"),
        (merge_bomb(20), "more than 1000 keys"),
        ("a: &a [*a]", "repeat themselves"),
        ("[" * 100_000, "nested deeper than"),
        ("- " * 10_000 + "x", "nested deeper than"),
        ('{"a": ' + "[" * 100_000, "recursion"),
        ('{"a": ' + "9" * 5000 + "}", "limit"),
        ("? [a]\n: b", "unhashable"),
        ("a: !!python/object/apply:os.system [true]", "constructor"),
        ("a: !!set {b}", "constructor"),
        ("a: !!binary aGk=", "constructor"),
        ("a: 2026-99-99", "month"),
        ("a: 1\n---\na: 2", "another document"),
        ("a: *b", "undefined alias"),
        ("a: \x00", "neither YAML nor JSON"),
        ("a: [", "did not find expected node content"),
    ],
    ids=range(22),
)
def test_what_cannot_be_read_is_refused_in_one_line(
    content: str | bytes, expected: str, tmp_path: Path
) -> None:
    assert expected in refusal(tmp_path / "cluster.yaml", content)


def test_json_s_own_faults_are_told_of_a_json_file(tmp_path: Path) -> None:
    found = refusal(tmp_path / "cluster.json", '{\n\t"cluster": "x",\n\t"nodes" []\n}')

    assert found == ":3: Expecting ':' delimiter"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cluster: on", "cluster: must be text, not true or false; put it in quotes"),
        ("cluster: 2026-01-01", "cluster: must be text, not date; put it in quotes"),
        ("cluster: 12:30", "cluster: must be text, not a number; put it in quotes"),
        ("cluster: ~", "cluster: must be text, not nothing"),
        ("cluster: demo\n1: x", "[1]: is not a field of the cluster document"),
        ("cluster: demo\non: x", "is not a field of the cluster document"),
        ("cluster: demo\n~: x", "is not a field of the cluster document"),
    ],
)
def test_what_yaml_takes_for_something_else_is_named_by_its_field(
    line: str, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"

    assert expected in refusal(path, YAML.replace("cluster: demo", line))


@pytest.mark.parametrize("name", ["/does/not/exist", "/", "/dev/null/x", "zero\0byte", "x" * 5000])
def test_a_file_that_cannot_be_opened_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        read_cluster(name)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_BYTES", 100)

    assert "larger than 100 bytes" in refusal(tmp_path / "cluster.yaml", YAML)


def test_standard_input_is_read_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="ascii"))

    with pytest.raises(RefusedError, match="not UTF-8"):
        read_cluster("-")


def test_merged_keys_may_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        YAML.replace("- id: i-3", "- &base\n  id: i-3").replace(
            "route_tables:", "- <<: *base\n  id: i-4\n  network_interface: eni-4\n  blocks: []\nroute_tables:"
        )
    )

    assert [node.id for node in read_cluster(str(path)).nodes] == ["i-1", "i-2", "i-3", "i-4"]
