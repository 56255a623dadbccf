"""Settings are checked at the start, and every fault is named by its variable."""

from __future__ import annotations

import pytest
from podway.config import BadSettings, Settings
from podway.domain.addressing import Prefix

GOOD = {
    "PODWAY_CLUSTER": "demo",
    "PODWAY_POD_CIDRS": "100.64.0.0/16",
    "PODWAY_TABLE": "podway",
    "PODWAY_QUEUE_URL": "http://localhost/queue.fifo",
    "PATH": "/bin",
}


def test_the_environment_becomes_plain_values_with_the_defaults_of_the_design() -> None:
    settings = Settings.from_environment(GOOD)

    assert settings.pod_cidrs == (Prefix.parse("100.64.0.0/16"),)
    assert (settings.block_length, settings.route_reserve, settings.quarantine_seconds) == (26, 2, 600)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("PODWAY_CLUSTRE", "demo", "PODWAY_CLUSTRE: Extra inputs"),
        ("PODWAY_CLUSTER", "", "PODWAY_CLUSTER: "),
        ("PODWAY_POD_CIDRS", "100.64.0.1/16", "PODWAY_POD_CIDRS: .*host bits"),
        ("PODWAY_POD_CIDRS", "100.64.0.0/16,100.65.0.0/16", "at most one per address family"),
        ("PODWAY_POD_CIDRS", "", "PODWAY_POD_CIDRS: "),
        ("PODWAY_POD_CIDRS", "0.0.0.0/0", "PODWAY_POD_CIDRS: .*overlaps"),
        ("PODWAY_POD_CIDRS", "127.0.0.0/8", "PODWAY_POD_CIDRS: .*overlaps"),
        ("PODWAY_POD_CIDRS", "224.0.0.0/4", "PODWAY_POD_CIDRS: .*overlaps"),
        ("PODWAY_POD_CIDRS", "169.254.0.0/16", "PODWAY_POD_CIDRS: .*overlaps"),
        ("PODWAY_POD_CIDRS", "168.0.0.0/6", "PODWAY_POD_CIDRS: .*overlaps 169.254.0.0/16"),
        ("PODWAY_POD_CIDRS", "fd00:ec2::/32", "PODWAY_POD_CIDRS: .*not supported yet"),
        ("PODWAY_POD_CIDRS", "100.64.0.0/16,fd00:64::/48", "PODWAY_POD_CIDRS: .*IPv6 pods are not supported"),
        ("PODWAY_BLOCK_LENGTH", "12", "/12 is no part of 100.64.0.0/16"),
        ("PODWAY_ROUTE_RESERVE", "many", "PODWAY_ROUTE_RESERVE: "),
        ("PODWAY_ROUTE_QUOTA", "1001", "PODWAY_ROUTE_QUOTA: "),
    ],
)
def test_what_is_wrong_is_refused_by_name(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(BadSettings, match=complaint):
        Settings.from_environment(GOOD | {variable: value})


def test_what_is_missing_is_named_all_at_once() -> None:
    with pytest.raises(BadSettings) as refused:
        Settings.from_environment({})

    assert all(name in str(refused.value) for name in GOOD if name.startswith("PODWAY"))
