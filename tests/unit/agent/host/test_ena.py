"""Counters of the ENA driver, read as ethtool reads them; a stand-in for the driver answers."""

from __future__ import annotations

import struct

import pytest
from podway_agent.host.ena import GET_SET_SIZES, GET_STATISTICS, GET_STRINGS, Ask, exceeded, statistics

ENA = {
    "total_resets": 0,
    "bw_in_allowance_exceeded": 3,
    "bw_out_allowance_exceeded": 0,
    "pps_allowance_exceeded": 2**40,
    "conntrack_allowance_exceeded": 1,
    "linklocal_allowance_exceeded": 0,
    "conntrack_allowance_available": 4096,
    "queue_0_tx_cnt": 7,
}


def driver(told: dict[str, int]) -> Ask:
    """One that has these statistics, in this order."""

    def ask(request: bytearray) -> None:
        (command,) = struct.unpack_from("=I", request)
        if command == GET_SET_SIZES:
            struct.pack_into("=QI", request, 8, 2 if told else 0, len(told))
        elif command == GET_STRINGS:
            assert struct.unpack_from("=II", request, 4) == (1, len(told))
            request[12:] = b"".join(name.encode().ljust(32, b"\0") for name in told)
        else:
            assert command == GET_STATISTICS
            struct.pack_into(f"={len(told)}Q", request, 8, *told.values())

    return ask


def deaf(_: bytearray) -> None:
    raise OSError(95, "Operation not supported")


def test_all_statistics_are_read_by_name() -> None:
    assert statistics(driver(ENA)) == ENA


def test_what_ec2_held_back_is_told_by_kind() -> None:
    assert exceeded(driver(ENA)) == {"bw_in": 3, "bw_out": 0, "conntrack": 1, "linklocal": 0, "pps": 2**40}


@pytest.mark.parametrize("ask", [driver({}), driver({"rx_bytes": 1}), deaf])
def test_other_drivers_tell_nothing(ask: Ask) -> None:
    assert exceeded(ask) == {}
