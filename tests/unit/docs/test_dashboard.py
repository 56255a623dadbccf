"""The dashboard and the stack's alarms look at metrics that the functions really write."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from podway_lab.stack.template import Place, Template

HANDLING = Path("layers/podway/src/podway/handling.py").read_text(encoding="utf-8")
RECONCILE = Path("functions/reconcile/app.py").read_text(encoding="utf-8")
WRITTEN = set(re.findall(r'"([A-Z][A-Za-z]+)"(?:, MetricUnit|:)', HANDLING + RECONCILE))
PAGE = Path("docs/operations.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(Path("template.yaml"), {"ClusterName": "demo", "VpcId": "vpc-00000000"}, Place())


@pytest.fixture(scope="module")
def widgets(template: Template) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(template.properties("Dashboard")["DashboardBody"])["widgets"]
    return found


def shown(widget: dict[str, Any]) -> set[str]:
    text = json.dumps(widget["properties"]["metrics"])
    return set(re.findall(r'"Podway", "(\w+)"', text)) | set(re.findall(r"MetricName=.{0,3}?(\w+)", text))


def test_the_functions_write_metrics() -> None:
    assert {"FailoverSeconds", "Holes", "RouteBudget", "OldestHintSeconds"} <= WRITTEN


def test_every_metric_on_the_dashboard_is_written_by_some_function(widgets: list[dict[str, Any]]) -> None:
    assert len(widgets) == 11
    for widget in widgets:
        assert shown(widget)
        assert shown(widget) <= WRITTEN


def test_every_metric_is_on_the_dashboard(widgets: list[dict[str, Any]]) -> None:
    assert set().union(*map(shown, widgets)) == WRITTEN


def test_every_alarm_of_the_stack_is_on_the_page_with_what_to_do_first_and_where_more_is_said(
    template: Template,
) -> None:
    more = r"\| \[[^]]+\]\(when-something-is-wrong\.md#[\w-]+\) \|"
    alarms = template.names("AWS::CloudWatch::Alarm")

    assert sorted(re.findall(rf"^\| `(\w+Alarm)` \|.*{more}$", PAGE, re.MULTILINE)) == sorted(alarms)


def test_widgets_do_not_overlap(widgets: list[dict[str, Any]]) -> None:
    places = {(one["x"], one["y"]) for one in widgets}

    assert len(places) == len(widgets)
    assert {one["width"] for one in widgets} == {8}


def test_every_alarm_on_our_own_metrics_looks_where_they_are_written(template: Template) -> None:
    ours = [
        template.properties(name)
        for name in template.names("AWS::CloudWatch::Alarm")
        if template.properties(name).get("Namespace") == "Podway"
    ]

    assert len(ours) == 8
    for one in ours:
        assert one["MetricName"] in WRITTEN
        assert one["Dimensions"] == [
            {"Name": "service", "Value": "podway"},
            {"Name": "Cluster", "Value": "demo"},
        ]


def test_every_metric_is_explained() -> None:
    assert [name for name in sorted(WRITTEN) if f"`{name}`" not in PAGE] == []


def test_an_operator_is_told_when_another_stacks_mark_keeps_this_one_from_writing(template: Template) -> None:
    """The first stack writes 0 of the same metric: only the largest value tells."""
    found = template.properties("OtherStackAlarm")

    assert (found["MetricName"], found["Statistic"], found["Threshold"]) == ("OtherStacks", "Maximum", 0)
    assert found["TreatMissingData"] == "ignore"
