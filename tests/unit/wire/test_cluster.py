"""The cluster document: what is accepted, and how every fault is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from podway.domain.addressing import Prefix
from podway.domain.model import ForwarderPreference, Health, NodeState
from podway.wire.cluster import DocumentRefusedError, parse_cluster

from tests.unit.wire.documents import GOOD, Place, changed, places, without

SCHEMA = Draft202012Validator(json.loads(Path("docs/contract/cluster.schema.json").read_text()))
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    2.0,
    "",
    "x",
    "y" * 64,
    [],
    {},
    ["x"],
    {"id": "x"},
)
SHAPELESS = (
    "not among",
    "already",
    "inside no",
    "overlaps",
    "family",
    "is not an IPv4",
    "add up",
    "too little",
)
"""What only the rules beyond the schema say."""


def faults(document: object) -> list[str]:
    try:
        parse_cluster(document)
    except DocumentRefusedError as refusal:
        return list(refusal.faults)
    return []


def test_a_good_document_becomes_the_facts_it_states() -> None:
    cluster = parse_cluster(GOOD)

    node = cluster.nodes[1]
    assert (cluster.name, cluster.pod_cidrs) == ("demo", (Prefix.parse("100.64.0.0/16"),))
    assert (node.state, node.health, node.forwarder) == (
        NodeState.DRAINING,
        Health.SUSPECT,
        ForwarderPreference.NEVER,
    )
    assert (node.weight, node.capacity, cluster.nodes[0].weight) == (2, 0.5, 1)
    table = cluster.route_tables[0]
    assert (table.quota, table.reserve, table.subnets) == (100, 3, ("a",))
    assert [route.owned for route in table.routes] == [False, False, True]
    assert table.routes[1].destination == "pl-1234"
    assert (cluster.route_tables[1].quota, cluster.route_tables[1].reserve) == (500, 2)


@given(st.data())
def test_what_the_schema_refuses_is_refused_and_what_it_accepts_has_no_fault_of_shape(
    data: st.DataObject,
) -> None:
    place = data.draw(st.sampled_from(sorted(places(GOOD), key=str)))
    document = data.draw(
        st.one_of(
            st.just(without(place)),
            st.sampled_from(VALUES).map(lambda value: changed(place, copy.deepcopy(value))),
            st.just(changed((*place[:-1], "extra") if isinstance(place[-1], str) else place, {"extra": 1})),
        )
    )

    found = faults(document)

    if SCHEMA.is_valid(document):
        assert all(any(word in fault for word in SHAPELESS) for fault in found), found
    else:
        assert found


@given(st.sampled_from(sorted(places(GOOD), key=str)), st.sampled_from(VALUES))
def test_a_value_of_the_wrong_shape_is_named_by_its_place(place: Place, value: Any) -> None:
    document = changed(place, copy.deepcopy(value))

    named = [line.partition(": ")[0] for line in faults(document)]

    for error in SCHEMA.iter_errors(document):
        path = ".".join(str(step) for step in error.absolute_path).replace(".0", "[0]")
        path = path.replace(".1", "[1]").replace(".2", "[2]")
        assert any(name == path or name.startswith((f"{path}.", f"{path}[")) for name in named) or not path


def test_all_faults_are_told_at_once_in_the_order_of_the_document() -> None:
    document = copy.deepcopy(GOOD)
    document["nodes"][2]["blocks"] = ["100.64.0.7/24"]
    document["nodes"][1]["blocks"] = ["100.64.0.0/26"]
    document["nodes"][1]["weight"] = "heavy"
    document["nodes"][0]["subnet"] = "c"
    document["route_tables"][1]["subnets"] = ["a"]
    document["pod_cidrs"].append("100.65.0.0/16")
    document["colour"] = "red"

    assert faults(document) == [
        "pod_cidrs[1]: 100.65.0.0/16 is a second one of its family beside 100.64.0.0/16",
        "nodes[0].subnet: c is not among the subnets",
        "nodes[1].blocks[0]: 100.64.0.0/26 overlaps 100.64.0.0/26 (nodes[0].blocks[0])",
        "nodes[1].weight: expected a number, not text",
        "nodes[2].blocks[0]: 100.64.0.7/24 has host bits set",
        "route_tables[1].subnets[0]: a is already route_tables[0].subnets[0]",
        "colour: is not a field of the cluster document",
    ]


def test_a_faulty_section_accuses_nobody_who_leans_on_it() -> None:
    document = changed(("subnets", 0, "supernets", 0), "100.64.0.1/20")

    assert faults(document) == ["subnets[0].supernets[0]: 100.64.0.1/20 has host bits set"]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([1e308] * 20, "nodes[0].weight: 1e+308 is too much: the weights add up to 1e+308"),
        ([float("nan")], "nodes[0].weight: must be a finite number"),
        ([float("inf")], "nodes[0].weight: must be a finite number"),
        ([10**400], "nodes[0].weight: the number is too large"),
    ],
)
def test_weights_whose_sums_are_no_numbers_are_refused(nodes: list[float], expected: str) -> None:
    document = changed(
        ("nodes",),
        [
            {"id": f"i-{n}", "subnet": "a", "network_interface": f"eni-{n}", "blocks": [], "weight": weight}
            for n, weight in enumerate(nodes)
        ],
    )

    assert faults(document) == [expected]


def test_a_capacity_that_makes_loads_endless_is_refused() -> None:
    (fault,) = faults(changed(("nodes", 0, "capacity"), 5e-324))

    assert fault.startswith("nodes[0].capacity: ")


def test_a_fault_is_one_line_whatever_the_operator_wrote() -> None:
    document = changed(("nodes", 0, "subnet"), "two\nlines\x1b[31m")

    (fault,) = faults(document)

    assert fault == "nodes[0].subnet: two\\nlines\\x1b[31m is not among the subnets"


def test_borrowed_space_belongs_to_the_inner_supernet() -> None:
    lent = copy.deepcopy(GOOD)
    lent["subnets"][1]["supernets"].append("100.64.15.0/24")
    borrowed = copy.deepcopy(lent)
    borrowed["nodes"][2]["blocks"].append("100.64.15.0/26")
    stolen = copy.deepcopy(lent)
    stolen["nodes"][0]["blocks"].append("100.64.15.0/26")
    straddling = copy.deepcopy(lent)
    straddling["nodes"][0]["blocks"].append("100.64.14.0/23")

    assert faults(lent) == []
    assert faults(borrowed) == []
    assert faults(stolen) == ["nodes[0].blocks[1]: 100.64.15.0/26 is inside no supernet of a"]
    assert faults(straddling) == [
        "nodes[0].blocks[1]: 100.64.14.0/23 has the supernet 100.64.15.0/24 of b inside it"
    ]


def test_a_subnet_may_have_a_supernet_inside_its_own() -> None:
    document = copy.deepcopy(GOOD)
    document["subnets"][0]["supernets"].append("100.64.15.0/24")
    document["nodes"][0]["blocks"].append("100.64.14.0/23")

    assert faults(document) == []


def test_an_adopted_subnet_has_its_blocks_anywhere_in_the_pod_cidr() -> None:
    document = copy.deepcopy(GOOD)
    document["subnets"][0]["supernets"] = []
    document["nodes"][0]["blocks"] = ["100.64.200.0/24", "100.64.128.64/26"]

    assert faults(document) == []


def test_a_subnet_of_a_table_need_not_be_the_cluster_s() -> None:
    assert faults(changed(("route_tables", 0, "subnets"), ["a", "elsewhere"])) == []
