"""The offline commands as other programs meet them: exit codes, standard output, standard error."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from podway.cli import main as cli
from podway.cli.main import podway

GOOD: dict[str, Any] = {
    "cluster": "demo",
    "pod_cidrs": ["100.64.0.0/16", "fd00:64::/56"],
    "vpc_cidrs": ["10.0.0.0/16"],
    "subnets": [
        {"id": "a", "supernets": ["100.64.0.0/20", "fd00:64::/60"], "availability_zone": "us-west-2a"},
        {"id": "b", "supernets": ["100.64.128.0/20"]},
    ],
    "nodes": [
        {
            "id": "i-1",
            "subnet": "a",
            "network_interface": "eni-1",
            "blocks": ["100.64.0.0/26", "fd00:64::/80"],
        },
        {"id": "i-2", "subnet": "a", "network_interface": "eni-2", "blocks": ["100.64.0.64/26"], "weight": 2},
        {"id": "i-3", "subnet": "b", "network_interface": "eni-3", "blocks": ["100.64.128.0/26"]},
        {"id": "i-4", "subnet": "b", "network_interface": "eni-4", "blocks": [], "state": "joining"},
    ],
    "route_tables": [
        {
            "id": "rtb-a",
            "subnets": ["a"],
            "routes": [
                {"destination": "10.0.0.0/16", "target": "local", "origin": "CreateRouteTable"},
                {"destination": "pl-1234", "target": "vpce-1"},
                {"destination": "100.64.128.0/20", "target": "eni-3", "owned": True},
            ],
        },
        {"id": "rtb-b", "subnets": ["b"], "quota": 50, "reserve": 1, "routes": []},
    ],
}
PLACES: list[tuple[tuple[str | int, ...], str]] = [
    (("cluster",), "cluster"),
    (("pod_cidrs", 0), "pod_cidrs[0]"),
    (("vpc_cidrs", 0), "vpc_cidrs[0]"),
    (("subnets", 0, "id"), "subnets[0].id"),
    (("subnets", 1, "supernets", 0), "subnets[1].supernets[0]"),
    (("nodes", 2, "id"), "nodes[2].id"),
    (("nodes", 2, "subnet"), "nodes[2].subnet"),
    (("nodes", 2, "network_interface"), "nodes[2].network_interface"),
    (("nodes", 0, "blocks", 1), "nodes[0].blocks[1]"),
    (("nodes", 3, "state"), "nodes[3].state"),
    (("nodes", 1, "weight"), "nodes[1].weight"),
    (("route_tables", 0, "id"), "route_tables[0].id"),
    (("route_tables", 0, "subnets", 0), "route_tables[0].subnets[0]"),
    (("route_tables", 0, "routes", 2, "destination"), "route_tables[0].routes[2].destination"),
    (("route_tables", 0, "routes", 2, "target"), "route_tables[0].routes[2].target"),
    (("route_tables", 0, "routes", 2, "owned"), "route_tables[0].routes[2].owned"),
    (("route_tables", 1, "quota"), "route_tables[1].quota"),
    (("route_tables", 1, "reserve"), "route_tables[1].reserve"),
]
WRONG: list[Any] = [None, {}, [1], float("nan")]
"""Wrong in every place."""


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    here: Any = document
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return document


def without(path: tuple[str | int, ...]) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    here: Any = document
    for step in path[:-1]:
        here = here[step]
    del here[path[-1]]
    return document


RULES: list[tuple[dict[str, Any], str]] = [
    (changed(("cluster",), ""), "cluster"),
    (changed(("cluster",), "x" * 64), "cluster"),
    (changed(("pod_cidrs",), []), "pod_cidrs"),
    (changed(("pod_cidrs", 1), "100.65.0.0/16"), "pod_cidrs[1]"),
    (changed(("pod_cidrs", 0), "10.0.0.0/8"), "pod_cidrs[0]"),
    (changed(("pod_cidrs", 0), "100.64.0.0/255.255.0.0"), "pod_cidrs[0]"),
    (changed(("pod_cidrs", 1), "FD00:64::/56"), "pod_cidrs[1]"),
    (changed(("pod_cidrs", 0), "100.64.0.0"), "pod_cidrs[0]"),
    (changed(("vpc_cidrs", 0), "100.64.7.0/24"), "pod_cidrs[0]"),
    (changed(("subnets", 1, "id"), "a"), "subnets[1].id"),
    (changed(("subnets", 1, "supernets", 0), "100.64.0.0/20"), "subnets[1].supernets[0]"),
    (changed(("subnets", 1, "supernets", 0), "100.65.0.0/20"), "subnets[1].supernets[0]"),
    (changed(("subnets", 1, "supernets", 0), "100.64.0.0/27"), "nodes[0].blocks[0]"),
    (changed(("nodes", 1, "id"), "i-1"), "nodes[1].id"),
    (changed(("nodes", 1, "network_interface"), "eni-1"), "nodes[1].network_interface"),
    (changed(("nodes", 1, "subnet"), "nowhere"), "nodes[1].subnet"),
    (changed(("nodes", 1, "blocks", 0), "100.64.0.0/26"), "nodes[1].blocks[0]"),
    (changed(("nodes", 1, "blocks", 0), "100.64.0.0/25"), "nodes[0].blocks[0]"),
    (changed(("nodes", 1, "blocks", 0), "100.64.0.7/26"), "nodes[1].blocks[0]"),
    (changed(("nodes", 1, "blocks", 0), "100.64.128.64/26"), "nodes[1].blocks[0]"),
    (changed(("nodes", 1, "blocks", 0), "100.66.0.0/26"), "nodes[1].blocks[0]"),
    (changed(("nodes", 1, "weight"), -1), "nodes[1].weight"),
    (changed(("nodes", 1, "weight"), True), "nodes[1].weight"),
    (changed(("nodes", 1, "capacity"), 0), "nodes[1].capacity"),
    (changed(("nodes", 1, "health"), "poorly"), "nodes[1].health"),
    (changed(("nodes", 1, "forwarder"), "maybe"), "nodes[1].forwarder"),
    (changed(("nodes", 1, "colour"), "red"), "nodes[1].colour"),
    (changed(("route_tables", 1, "id"), "rtb-a"), "route_tables[1].id"),
    (changed(("route_tables", 1, "subnets"), ["a"]), "route_tables[1].subnets[0]"),
    (changed(("route_tables", 1, "quota"), 0), "route_tables[1].quota"),
    (changed(("route_tables", 1, "quota"), 1.5), "route_tables[1].quota"),
    (changed(("route_tables", 1, "reserve"), -1), "route_tables[1].reserve"),
    (
        changed(("route_tables", 0, "routes", 1, "destination"), "10.0.0.0/16"),
        "route_tables[0].routes[1].destination",
    ),
    (
        changed(("route_tables", 0, "routes", 1, "destination"), "anywhere"),
        "route_tables[0].routes[1].destination",
    ),
    (changed(("route_tables", 0, "routes", 1, "state"), "gone"), "route_tables[0].routes[1].state"),
    (changed(("route_tables", 0, "routes", 1, "origin"), "Me"), "route_tables[0].routes[1].origin"),
    (changed(("extra",), 1), "extra"),
    (without(("cluster",)), "cluster"),
    (without(("pod_cidrs",)), "pod_cidrs"),
    (without(("nodes",)), "nodes"),
    (without(("subnets", 0, "supernets")), "subnets[0].supernets"),
    (without(("nodes", 0, "network_interface")), "nodes[0].network_interface"),
    (without(("route_tables", 0, "routes", 0, "target")), "route_tables[0].routes[0].target"),
]
MUTATIONS = [*RULES, *((changed(path, value), field) for path, field in PLACES for value in WRONG)]


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], str]:
    def write(document: Any) -> str:
        path = tmp_path / "cluster.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write


@pytest.mark.parametrize("command", [["plan"], ["validate"], ["explain", "100.64.0.1"]], ids=lambda c: c[0])
def test_a_hundred_bad_documents_are_refused_by_the_name_of_the_field(
    command: list[str], written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(MUTATIONS) > 100
    for document, field in MUTATIONS:
        code = cli.run([*command, "-f", written(document)])

        out, err = capsys.readouterr()
        assert (code, out) == (2, ""), field
        assert any(line.startswith((f"{field}:", f"{field}[", f"{field}.")) for line in err.splitlines()), (
            field,
            err,
        )
        assert "Traceback" not in err


@pytest.mark.parametrize(
    "text",
    ["", "[]", "a: [", "{", "cluster: x\ncluster: y\n", "\x00", "!!python/object:os.system {}"],
    ids=repr,
)
def test_what_is_no_document_at_all_is_refused(
    text: str, written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["plan", "-f", written(text)])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.strip()


@pytest.mark.parametrize(
    "arguments", [["plan"], ["plan", "-f", "/does/not/exist"], ["dance"], ["plan", "--improve", "-1"]]
)
def test_unusable_command_lines_end_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert capsys.readouterr().out == ""


def test_a_plan_keeps_to_its_schema_and_ends_with_1_while_there_are_steps(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = cli.run(["plan", "-f", written(GOOD), "--output", "json"])

    plan = json.loads(capsys.readouterr().out)
    schema = json.loads(Path("docs/contract/plan.schema.json").read_text())
    Draft202012Validator(schema).validate(plan)
    assert code == 1
    assert [table["budget"] for table in plan["route_tables"]] == [496, 49]
    assert plan["route_tables"][0]["total_weight"] == 1


def test_a_plan_that_is_carried_out_has_nothing_left_to_change(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["plan", "-f", written(GOOD), "--output", "json"])
    plan = json.loads(capsys.readouterr().out)
    document = copy.deepcopy(GOOD)
    for table, planned in zip(document["route_tables"], plan["route_tables"], strict=True):
        table["routes"] = [route for route in table["routes"] if not route.get("owned")] + [
            {"destination": r["destination"], "target": r["network_interface"], "owned": True}
            for r in planned["routes"]
        ]

    assert cli.run(["plan", "-f", written(document), "--output", "json"]) == 0
    assert all(not table["steps"] for table in json.loads(capsys.readouterr().out)["route_tables"])


def test_a_block_left_without_a_route_ends_with_3_and_the_plan_is_still_printed(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = changed(("route_tables", 1, "quota"), 1)

    code = cli.run(["plan", "-f", written(document), "--output", "json"])

    plan = json.loads(capsys.readouterr().out)
    assert code == 3
    assert plan["route_tables"][1]["holes"]
    assert any("too small" in warning for warning in plan["warnings"])


def test_explain_follows_the_packet_and_its_second_chance(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = changed(("route_tables", 1, "quota"), 3)

    code = cli.run(["explain", "-f", written(document), "100.64.0.3", "--from", "b", "--output", "json"])

    (path,) = json.loads(capsys.readouterr().out)["from"]
    assert code == 0
    assert (path["route_table"], path["node"], path["subnet"]) == ("rtb-b", "i-1", "b")
    assert path["verdict"] in {"direct", "relayed"}
    assert path["if_next_hop_dies"].keys() == path.keys() - {"if_next_hop_dies"}


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("100.64.0.1", "same-subnet"),
        ("100.64.9.1", "unallocated"),
        ("192.0.2.1", "outside"),
        ("100.64.128.1", "direct"),
    ],
)
def test_explain_has_a_verdict_for_any_address(
    address: str, verdict: str, written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.run(["explain", "-f", written(GOOD), address, "--from", "a", "--output", "json"])

    assert json.loads(capsys.readouterr().out)["from"][0]["verdict"] == verdict


def test_an_internal_error_ends_with_70(
    monkeypatch: pytest.MonkeyPatch, written: Callable[[Any], str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr("podway.cli.offline.plan", broken)

    assert cli.run(["plan", "-f", written(GOOD)]) == 70


@pytest.mark.parametrize("command", sorted(podway.commands))
def test_every_command_has_help(command: str) -> None:
    result = CliRunner().invoke(podway, [command, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_after_a_relaying_node_dies_the_answer_is_its_first_standby(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = copy.deepcopy(GOOD)
    document["nodes"].append(
        {"id": "i-5", "subnet": "a", "network_interface": "eni-5", "blocks": ["100.64.0.128/26"]}
    )
    document["route_tables"][1]["quota"] = 3
    cli.run(["plan", "-f", written(document), "--output", "json"])
    plan = json.loads(capsys.readouterr().out)["route_tables"][1]
    anchor = next(route for route in plan["routes"] if route["destination"] == "100.64.0.0/20")
    addresses = {"i-1": "100.64.0.1", "i-2": "100.64.0.65", "i-5": "100.64.0.129"}
    relayed = next(node for node in addresses if node != anchor["next_hop"])

    cli.run(["explain", "-f", written(document), addresses[relayed], "--from", "b", "-o", "json"])

    (path,) = json.loads(capsys.readouterr().out)["from"]
    after = path["if_next_hop_dies"]
    assert (path["verdict"], path["next_hop"]) == ("relayed", anchor["next_hop"])
    assert (after["next_hop"], after["route"]) == (anchor["standbys"][0], "100.64.0.0/20")
    assert after["verdict"] == ("direct" if after["next_hop"] == relayed else "relayed")


def test_explain_says_why_nothing_arrives(
    written: Callable[[Any], str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = changed(("nodes", 2, "state"), "gone")

    cli.run(["explain", "-f", written(document), "100.64.128.1", "--from", "a"])

    assert "i-3 is gone" in capsys.readouterr().out
