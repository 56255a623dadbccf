"""Joins, leaves, rests, growth and shrinking in any order: no address twice, no block while it rests.

Nor does anybody get what another subnet gave back before it has left.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from podway.domain.addressing import Prefix
from podway.domain.ipam.space import AddressSpace, Want, allocate, quarantine, trim

POD = {4: Prefix.parse("100.64.0.0/22"), 6: Prefix.parse("fd00:64::/118")}
REST = timedelta(minutes=10)
SUBNETS = ("a", "b", "c")


class Addresses(RuleBasedStateMachine):
    """A block is a quarter of a /24 or, for IPv6, a /122."""

    def __init__(self) -> None:
        super().__init__()
        self.space = AddressSpace((POD[4], POD[6]))
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.joined = 0

    @rule(subnet=st.sampled_from(SUBNETS), version=st.sampled_from([4, 6]), extra=st.integers(0, 1))
    def join(self, subnet: str, version: int, extra: int) -> None:
        self.joined += 1
        length = {4: 26, 6: 122}[version] + extra
        want = Want(subnet, f"i-{self.joined:04}", length, version)

        result = allocate(self.space, [want], now=self.now, subnets=SUBNETS)

        quarantined = [rest.prefix for rest in self.space.quarantined if rest.until > self.now]
        if result.refused:
            assert not self._has_free(length, version), result.refused[0].reason
        for block in result.placed:
            assert not any(block.prefix.overlaps(other) for other in quarantined)
            assert block.prefix.length == length
            for one in self.space.released:
                assert one.subnet == subnet or not one.prefix.overlaps(block.prefix)
        self.space = result.space

    def _has_free(self, length: int, version: int) -> bool:
        taken = [block.prefix for block in self.space.blocks] + [
            rest.prefix for rest in self.space.quarantined if rest.until > self.now
        ]
        taken += [one.prefix for one in self.space.released]
        pod = POD[version]
        step = 1 << ({4: 32, 6: 128}[version] - length)
        for value in range(pod.value, pod.value + pod.size, step):
            if not any(Prefix(version, value, length).overlaps(other) for other in taken):
                return not self._only_in_borrowed(Prefix(version, value, length))
        return False

    def _only_in_borrowed(self, place: Prefix) -> bool:
        """Space inside borrowed space is nobody else's to lend: the one accepted refusal."""
        around = [net for net in self.space.supernets if net.prefix.overlaps(place)]
        return len(around) > 1

    @rule(pick=st.integers(0, 10_000), at_once=st.integers(1, 4))
    @precondition(lambda self: bool(self.space.blocks))
    def leave(self, pick: int, at_once: int) -> None:
        start = pick % len(self.space.blocks)
        gone = [block.prefix for block in self.space.blocks[start : start + at_once]]
        self.space = quarantine(self.space, gone, until=self.now + REST)

    @rule(minutes=st.sampled_from([1, 11]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def daily(self) -> None:
        before = self.space
        self.space = trim(self.space, now=self.now, subnets=SUBNETS)
        assert self.space.blocks == before.blocks
        assert trim(self.space, now=self.now, subnets=SUBNETS) == self.space, "a second round changes nothing"

    @rule(pick=st.integers(0, 10_000))
    @precondition(lambda self: bool(self.space.released))
    def has_left(self, pick: int) -> None:
        gone = self.space.released[pick % len(self.space.released)]
        self.space = replace(self.space, released=tuple(one for one in self.space.released if one != gone))

    @invariant()
    def no_address_belongs_to_two(self) -> None:
        blocks = sorted(block.prefix for block in self.space.blocks)
        for first, second in pairwise(blocks):
            assert not first.overlaps(second)

    @invariant()
    def what_leaves_was_lost_by_its_subnet_and_holds_nobodys_block(self) -> None:
        for one in self.space.released:
            around = [net for net in self.space.supernets if net.prefix.overlaps(one.prefix)]
            assert all(net.subnet != one.subnet for net in around)
            assert not any(one.prefix.overlaps(block.prefix) for block in self.space.blocks)
        for first, second in pairwise(sorted(one.prefix for one in self.space.released)):
            assert not first.overlaps(second)

    @invariant()
    def every_block_is_in_space_of_its_own_subnet(self) -> None:
        for block in self.space.blocks:
            around = [net for net in self.space.supernets if net.prefix.contains(block.prefix)]
            innermost = max(around, key=lambda net: net.prefix.length)
            assert innermost.subnet == block.subnet

    @invariant()
    def supernets_are_owned_once_and_nest_at_most_once(self) -> None:
        prefixes = [net.prefix for net in self.space.supernets]
        assert len(set(prefixes)) == len(prefixes)
        for prefix in prefixes:
            assert sum(1 for other in prefixes if other.contains(prefix)) <= 2


Addresses.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAddresses = Addresses.TestCase
