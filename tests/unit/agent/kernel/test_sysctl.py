from __future__ import annotations

from pathlib import Path

import pytest
from podway_agent.kernel.sysctl import Switches, wanted_switches

WANTED = wanted_switches("ens5", ipv6=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for switch in wanted_switches("ens5", ipv6=True):
        (tmp_path / switch).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / switch).write_text("9\n")
    return tmp_path


def test_all_switches_are_set(root: Path) -> None:
    assert Switches(root).ensure(WANTED) == {}

    assert {switch: (root / switch).read_text() for switch in WANTED} == WANTED


def test_redirects_are_off_in_every_scope_that_counts() -> None:
    off = {switch for switch, value in WANTED.items() if value == "0"}

    assert off >= {f"ipv4/conf/{scope}/send_redirects" for scope in ("all", "default", "ens5")}


def test_router_advertisements_are_kept_before_ipv6_forwards() -> None:
    order = list(wanted_switches("ens5", ipv6=True))

    assert order.index("ipv6/conf/ens5/accept_ra") < order.index("ipv6/conf/all/forwarding")


def test_a_first_setting_is_no_reset_and_a_repeated_one_is_reported(root: Path) -> None:
    switches = Switches(root)
    switches.ensure(WANTED)
    assert switches.fought() == ()

    for _ in range(3):
        (root / "ipv4/ip_forward").write_text("0")
        assert switches.ensure(WANTED) == {}

    assert switches.fought() == ("ipv4/ip_forward",)
    assert (root / "ipv4/ip_forward").read_text() == "1"


def test_a_switch_that_cannot_be_set_is_named_and_the_others_are_set(root: Path) -> None:
    (root / "ipv4/conf/ens5/rp_filter").unlink()
    (root / "ipv4/conf/ens5/rp_filter").mkdir()

    faults = Switches(root).ensure(WANTED)

    assert list(faults) == ["ipv4/conf/ens5/rp_filter"]
    assert (root / "ipv4/ip_forward").read_text() == "1"


def test_a_switch_that_does_not_stay_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)

    faults = Switches(root).ensure({"ipv4/ip_forward": "1"})

    assert faults == {"ipv4/ip_forward": "is 9 after 1 was written"}
