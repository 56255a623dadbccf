"""Echo requests as bytes, and which answers are ours."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podway_agent.probing.echo import checksum, request, serial_of

SECRET = b"8 secret"


def answered(version: int, packet: bytes) -> bytes:
    """What the kernel hands over for the answer: type changed; with IPv4 the IP header before it."""
    reply = bytes([{4: 0, 6: 129}[version]]) + packet[1:]
    return b"\x45" + bytes(19) + reply if version == 4 else reply


@given(st.sampled_from([4, 6]), st.integers(0, 2**64 - 1))
def test_an_answer_brings_its_serial_number_back(version: int, serial: int) -> None:
    assert serial_of(version, answered(version, request(version, SECRET, serial)), SECRET) == serial


@given(st.integers(0, 2**64 - 1))
def test_a_request_checks_out(serial: int) -> None:
    packet = request(4, SECRET, serial)

    assert checksum(packet) == 0
    assert packet[0] == 8


def test_the_checksum_is_that_of_the_standard() -> None:
    """The example of RFC 1071, section 3."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == ~0xDDF2 & 0xFFFF


@pytest.mark.parametrize("version", [4, 6])
@given(noise=st.binary(max_size=64))
def test_noise_is_nobodys_answer(version: int, noise: bytes) -> None:
    assert serial_of(version, noise, SECRET) is None


def test_answers_to_others_and_requests_are_not_ours() -> None:
    mine = request(4, SECRET, 7)
    ip_header = struct.pack("!B19x", 0x45)

    assert serial_of(4, answered(4, request(4, b"another!", 7)), SECRET) is None
    assert serial_of(4, ip_header + mine, SECRET) is None
    assert serial_of(4, answered(4, mine) + b"x", SECRET) is None
