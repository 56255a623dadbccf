from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from podway.domain.addressing import Prefix
from podway_agent.kernel.difference import Add, Difference, Remove, Replace, difference
from podway_agent.kernel.routing import PROTOCOL, UNREACHABLE_METRIC, KernelRoute, Key, Kind, Target

STATIC = 4
BLOCK = Key(Prefix.parse("100.64.0.64/26"), 0)
BACKSTOP = Key(Prefix.parse("100.64.0.64/26"), UNREACHABLE_METRIC)
LOST = Target(Kind.UNREACHABLE)


def via(gateway: int) -> Target:
    return Target(Kind.UNICAST, gateway, 2, onlink=True)


def ours(key: Key, target: Target) -> KernelRoute:
    return KernelRoute(key, target, PROTOCOL)


def foreign(key: Key, target: Target) -> KernelRoute:
    return KernelRoute(key, target, STATIC)


def test_nothing_to_do_is_nothing_done() -> None:
    found = difference(desired={BLOCK: via(1)}, observed=[ours(BLOCK, via(1))])

    assert found == Difference((), (), 1)
    assert found.is_complete


def test_a_moved_block_is_replaced_and_not_removed_first() -> None:
    found = difference(desired={BLOCK: via(2)}, observed=[ours(BLOCK, via(1))])

    assert found.changes == (Replace((BLOCK, via(2))),)  # type: ignore[arg-type]  # a plain pair compares equal


def test_a_foreign_route_in_our_place_is_left_alone_and_reported() -> None:
    there = foreign(BLOCK, via(9))

    found = difference(desired={BLOCK: via(1), BACKSTOP: LOST}, observed=[there])

    assert [type(change) for change in found.changes] == [Add]
    assert [(conflict.wanted.key, conflict.foreign) for conflict in found.conflicts] == [(BLOCK, there)]
    assert found.conflicts[0].blocks_ours
    assert not found.is_complete


def test_a_foreign_route_that_leads_where_ours_would_is_no_conflict() -> None:
    found = difference(desired={BLOCK: via(1)}, observed=[foreign(BLOCK, via(1)._replace(onlink=False))])

    assert found.changes == ()
    assert found.conflicts == ()


def test_a_foreign_route_of_worse_metric_does_not_matter() -> None:
    later = foreign(BLOCK._replace(metric=100), via(9))

    found = difference(desired={BLOCK: via(1)}, observed=[later])

    assert [type(change) for change in found.changes] == [Add]
    assert found.conflicts == ()


def test_a_foreign_route_of_better_metric_takes_our_packets() -> None:
    sooner = foreign(BLOCK._replace(prefix=Prefix.parse("fd00:64::/80"), metric=1), via(9))
    wanted = sooner.key._replace(metric=1024)

    found = difference(desired={wanted: via(1)}, observed=[sooner])

    assert [type(change) for change in found.changes] == [Add]
    assert [(conflict.foreign, conflict.blocks_ours) for conflict in found.conflicts] == [(sooner, False)]


def test_our_own_better_route_is_not_a_conflict_with_its_backstop() -> None:
    found = difference(
        desired={BLOCK: via(1), BACKSTOP: LOST}, observed=[ours(BLOCK, via(1)), ours(BACKSTOP, LOST)]
    )

    assert found.is_complete


def test_doubles_of_ours_go() -> None:
    found = difference(desired={BLOCK: via(1)}, observed=[ours(BLOCK, via(1)), ours(BLOCK, via(2))])

    assert found.changes == (Remove((BLOCK, via(2))),)  # type: ignore[arg-type]  # a plain pair compares equal


# --- a kernel in miniature ---------------------------------------------------------------

keys = st.builds(
    lambda n, length, metric: Key(Prefix(4, n << 8, 24).at(length), metric),
    st.integers(0, 7),
    st.sampled_from([21, 22, 23, 24]),
    st.sampled_from([0, UNREACHABLE_METRIC]),
)
targets = st.one_of(st.builds(via, st.integers(1, 3)), st.just(LOST))
tables = st.dictionaries(keys, targets, max_size=12)


def apply(found: Difference, table: dict[Key, tuple[Target, int]]) -> Iterable[dict[Key, tuple[Target, int]]]:
    """The table after each change, refusing what the kernel refuses."""
    for change in found.changes:
        key, target = change.route
        match change:
            case Add():
                assert key not in table, "an exclusive add would be refused"
                table[key] = (target, PROTOCOL)
            case Replace():
                assert table[key][1] == PROTOCOL, "a foreign route would be overwritten"
                table[key] = (target, PROTOCOL)
            case Remove():
                assert table[key] == (target, PROTOCOL)
                del table[key]
        yield dict(table)


def lookup(table: dict[Key, tuple[Target, int]], address: int) -> Target | None:
    packet = Prefix(4, address, 32)
    matching = [key for key in table if key.prefix.contains(packet)]
    if not matching:
        return None
    return table[min(matching, key=lambda key: (-key.prefix.length, key.metric))][0]


@given(desired=tables, before=tables, others=tables)
def test_it_arrives_touches_nothing_of_others_and_is_done_then(
    desired: dict[Key, Target], before: dict[Key, Target], others: dict[Key, Target]
) -> None:
    table = {key: (target, PROTOCOL) for key, target in before.items()}
    table |= {key: (target, STATIC) for key, target in others.items()}

    def look() -> Difference:
        return difference(
            desired=desired, observed=[KernelRoute(key, *entry) for key, entry in table.items()]
        )

    list(apply(look(), table))

    assert {key: target for key, (target, owner) in table.items() if owner == STATIC} == others
    mine = {key: target for key, (target, owner) in table.items() if owner == PROTOCOL}
    assert mine == {key: target for key, target in desired.items() if key not in others}
    assert look().changes == ()


@given(desired=tables, before=tables, block=st.integers(0, 7))
def test_an_address_with_a_way_before_and_after_always_has_one(
    desired: dict[Key, Target], before: dict[Key, Target], block: int
) -> None:
    address = (block << 8) + 1
    table = {key: (target, PROTOCOL) for key, target in before.items()}
    first = lookup(table, address)
    last = lookup({key: (target, PROTOCOL) for key, target in desired.items()}, address)
    found = difference(desired=desired, observed=[ours(key, target) for key, target in before.items()])

    ways = [lookup(now, address) for now in apply(found, table)]

    if first is not None and last is not None:
        assert None not in ways
    if first is not None and first == last and first.kind is Kind.UNICAST:
        others = {
            key for key in desired.keys() | before.keys() if key.prefix.contains(Prefix(4, address, 32))
        }
        if all(desired.get(key) == before.get(key) for key in others):
            assert set(ways) <= {first}
