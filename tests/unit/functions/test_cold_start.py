"""What a failover that starts cold loads: counted, since every module keeps packets waiting."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADING = """
import importlib.util, json, os, sys
before = set(sys.modules)
spec = importlib.util.spec_from_file_location("app", "functions/failover/app.py")
spec.loader.exec_module(importlib.util.module_from_spec(spec))
imported = sorted(set(sys.modules) - before)
os.environ |= json.loads(sys.argv[1])
from podway import bootstrap
bootstrap.failover()
print(json.dumps({"imported": imported, "built": sorted(set(sys.modules) - before)}))
"""
SETTINGS = {
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "PODWAY_CLUSTER": "demo",
    "PODWAY_POD_CIDRS": "100.64.0.0/16",
    "PODWAY_TABLE": "table",
    "PODWAY_QUEUE_URL": "https://sqs.us-west-2.amazonaws.com/123456789012/hints.fifo",
}
NOT_NEEDED = {
    "boto3": "loads its S3 transfers, and with them multiprocessing",
    "multiprocessing": "nobody starts processes",
    "netaddr": "for what people type",
    "rich": "for people",
    "podway.adapters.cloudwatch": "reconcile keeps the alarms",
    "podway.adapters.dynamodb": "reconcile keeps the inventory and publishes snapshots",
    "podway.app.lifecycle": "another function",
    "podway.app.reconcile": "another function",
    "podway.cli": "another program",
    "podway.domain.ipam": "reconcile allocates",
    "podway.domain.members": "reconcile knows who belongs",
    "podway.domain.operator": "for people",
    "podway.domain.planner": "reconcile plans",
    "podway.domain.run": "reconcile decides",
    "podway.domain.transition": "reconcile orders",
    "podway.wire.snapshot": "agents read it",
}


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    said = subprocess.run(
        [sys.executable, "-c", LOADING, json.dumps(SETTINGS)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    modules: dict[str, list[str]] = json.loads(said.stdout)
    return modules


@pytest.mark.parametrize("package", NOT_NEEDED)
def test_failover_starts_without(loaded: dict[str, list[str]], package: str) -> None:
    assert not [one for one in loaded["built"] if one == package or one.startswith(f"{package}.")]


def test_few_modules_of_ours_are_loaded(loaded: dict[str, list[str]]) -> None:
    ours = [one for one in loaded["built"] if one.split(".")[0] == "podway"]

    assert "podway.app.failover" in ours
    assert len(ours) <= 45, ours


def test_building_the_use_case_imports_nothing_of_ours_that_importing_the_handler_did_not(
    loaded: dict[str, list[str]],
) -> None:
    """What is imported late is imported while an event waits."""
    late = set(loaded["built"]) - set(loaded["imported"])

    assert not [one for one in late if one.startswith("podway")]
