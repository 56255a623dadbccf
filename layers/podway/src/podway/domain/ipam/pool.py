"""The allocator's working state for one pod CIDR: who has which supernet, and what is free in it.

``space`` makes a pool for each call, and ``podway simulate`` plays one for a year. ``place`` tries in order:

1. the buddy of a block that the node has, so that one route serves both;
2. the biggest supernet of the subnet, lowest address first, so that upper halves empty;
3. more space for the subnet: a supernet doubles in place, else a new one is taken where most is free
   (first supernets lie far apart, so that they can double: sparse allocation as in RFC 3531);
4. space borrowed at the top end of another subnet's supernet, at the price of one longer route. It doubles
   in place too.

Once a day, and when a want finds no room, subnets release empty supernets and halves, also halves in which
only others borrow. The subnet may take released space back; nobody else may have it before it is reclaimed:

    free ── place ──► block ── quarantine ──► quarantined ── end_quarantine ──► free (in its supernet)
    free (in a supernet) ── trim ──► released ── reclaim ──► free (of the pod CIDR, or of the lender)
                                        └─ place, for the same subnet ─► free (in a supernet)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from podway.domain.addressing import WIDTH, Prefix
from podway.domain.ipam.pieces import Piece, Pieces

SPREAD = 2
"""First supernets take at most 1/2**SPREAD of an even share, so that all can double twice."""

LOW_USE = 3 / 8
"""Share in use below which the daily round releases an empty half: hysteresis against growing again."""

ALWAYS = 2.0
"""No share is ever this high: as *below*, it releases every empty half."""

FURTHER = 3
"""A further supernet is about 1/2**FURTHER to 1/2**(FURTHER-1) of what the subnet has."""


@dataclass(slots=True, eq=False)
class Extent:
    """A supernet at work: its free pieces, addresses in blocks, and the lender if it is borrowed."""

    subnet: str
    free: Pieces
    used: int = 0
    lender: Extent | None = None
    lent: int = 0

    @property
    def piece(self) -> Piece:
        """(address, length) of the supernet."""
        return self.free.root


@dataclass(slots=True)
class Pool:
    """One pod CIDR. *expected* is the number of subnets that will share it."""

    cidr: Prefix
    expected: int
    free: Pieces = field(init=False)
    extents: dict[str, list[Extent]] = field(default_factory=dict)
    reclaiming: dict[str, Pieces] = field(default_factory=dict)
    """What was released and is not reclaimed, by the subnet that had it."""
    released: list[tuple[str, Prefix]] = field(default_factory=list)
    """What was released since the pool was made, in order."""
    width: int = field(init=False)

    def __post_init__(self) -> None:
        self.width = WIDTH[self.cidr.version]
        self.free = Pieces((self.cidr.value, self.cidr.length), self.width)
        self.free.give(self.cidr.value, self.cidr.length)

    # -- set-up -------------------------------------------------------------------------------

    def adopt_supernet(self, subnet: str, prefix: Prefix) -> None:
        """Enter an existing supernet; outer ones first. Inside another's it counts as borrowed."""
        piece = (prefix.value, prefix.length)
        lender = self.extent_around(prefix)
        if lender is None:
            self.free.exclude(*piece)
        else:
            lender.free.exclude(*piece)
            lender.lent += 1
        self._open(subnet, piece, lender)

    def adopt_released(self, subnet: str, prefix: Prefix) -> None:
        """Enter what *subnet* released; after the supernets. Inside one of its own it was taken back."""
        around = self.extent_around(prefix)
        if around is None or around.subnet != subnet:
            (around or self).free.exclude(prefix.value, prefix.length)
            self._reclaiming_of(subnet).give(prefix.value, prefix.length)

    def occupy(self, prefix: Prefix, *, used: bool) -> None:
        """Mark an existing block (*used*) or a quarantined prefix as taken, wherever it lies."""
        extent = self.extent_around(prefix)
        if extent is not None:
            extent.free.exclude(prefix.value, prefix.length)
            extent.used += prefix.size if used else 0
            return
        self.free.exclude(prefix.value, prefix.length)
        for inner in self._all():
            if prefix.contains(self._prefix(inner.piece)):
                inner.free.exclude(*inner.piece)

    def extent_around(self, prefix: Prefix) -> Extent | None:
        """The innermost supernet that holds *prefix*."""
        found: Extent | None = None
        for extent in self._all():
            value, length = extent.piece
            if length > prefix.length or prefix.value & -(1 << (self.width - length)) != value:
                continue
            if found is None or length > found.piece[1]:
                found = extent
        return found

    def _all(self) -> Iterator[Extent]:
        return (extent for extents in self.extents.values() for extent in extents)

    def _prefix(self, piece: Piece) -> Prefix:
        return Prefix(self.cidr.version, *piece)

    def supernets(self) -> Iterator[tuple[Prefix, str]]:
        """Every supernet with its subnet."""
        return ((self._prefix(extent.piece), extent.subnet) for extent in self._all())

    # -- blocks -------------------------------------------------------------------------------

    def place(self, subnet: str, length: int, near: Sequence[Prefix] = ()) -> Prefix | None:
        """Take a block for a node of *subnet* that has the blocks *near*; None when nothing helps."""
        return (
            self._take_buddy(subnet, length, near)
            or self._take_lowest(subnet, length)
            or self._take_by_growing(subnet, length)
            or self._take_by_borrowing(subnet, length)
        )

    def quarantine(self, prefix: Prefix) -> None:
        """A block is no longer in use; it stays taken until :meth:`end_quarantine`."""
        extent = self.extent_around(prefix)
        if extent is not None:
            extent.used -= prefix.size

    def end_quarantine(self, prefix: Prefix) -> None:
        """A quarantined block may be given again."""
        extent = self.extent_around(prefix)
        if extent is None:
            self.free.give(prefix.value, prefix.length)
            return
        extent.free.give(prefix.value, prefix.length)

    def _take_buddy(self, subnet: str, length: int, near: Sequence[Prefix]) -> Prefix | None:
        for block in sorted(near):
            if block.length != length or block.length == 0:
                continue
            buddy = block.buddy()
            extent = self.extent_around(buddy)
            if extent is not None and extent.subnet == subnet and extent.free.take(buddy.value, length):
                extent.used += buddy.size
                return buddy
        return None

    def _take_lowest(self, subnet: str, length: int) -> Prefix | None:
        for extent in self._biggest_first(self.extents.get(subnet, ())):
            value = extent.free.take_lowest(length)
            if value is not None:
                block = self._prefix((value, length))
                extent.used += block.size
                return block
        return None

    @staticmethod
    def _biggest_first(extents: Iterable[Extent]) -> list[Extent]:
        return sorted(extents, key=lambda extent: (extent.piece[1], extent.piece[0]))

    # -- growing ------------------------------------------------------------------------------

    def _take_by_growing(self, subnet: str, length: int) -> Prefix | None:
        if self._grow_in_place(subnet, length) or self._open_further(subnet, length):
            return self._take_lowest(subnet, length)
        return None

    def _grow_in_place(self, subnet: str, length: int) -> bool:
        for extent in self._biggest_first(self.extents.get(subnet, ())):
            value, old = extent.piece
            if extent.lender is not None or old <= self.cidr.length or old > length:
                continue
            buddy = value ^ (1 << (self.width - old))
            if self._take_free_or_released(subnet, (buddy, old), None):
                self._resize(extent, (min(value, buddy), old - 1), gained=(buddy, old))
                return True
        return False

    def _take_free_or_released(self, subnet: str, piece: Piece, lender: Extent | None) -> bool:
        """Take a free piece of the lender or of the pod CIDR, or one that the subnet itself released."""
        if (lender or self).free.take(*piece):
            return True
        left = self.reclaiming.get(subnet)
        return left is not None and self.extent_around(self._prefix(piece)) is lender and left.take(*piece)

    def _open_further(self, subnet: str, length: int) -> bool:
        roomiest = self.free.largest()
        if roomiest is None or roomiest[1] > length:
            return False
        wanted = min(max(self._next_length(subnet), roomiest[1]), length)
        self.free.take(roomiest[0], wanted)
        self._open(subnet, (roomiest[0], wanted), None)
        return True

    def _next_length(self, subnet: str) -> int:
        """How long the prefix of a new supernet should be."""
        owned = sum(1 << (self.width - extent.piece[1]) for extent in self.extents.get(subnet, ()))
        if not owned:
            shares = max(self.expected, len(self.extents) + 1) - 1
            return min(self.cidr.length + SPREAD + shares.bit_length(), self.width)
        return min(self.width - owned.bit_length() + 1 + FURTHER, self.width)

    def _open(self, subnet: str, piece: Piece, lender: Extent | None) -> None:
        extent = Extent(subnet, Pieces(piece, self.width), lender=lender)
        extent.free.give(*piece)
        self.extents.setdefault(subnet, []).append(extent)

    def _resize(self, extent: Extent, piece: Piece, gained: Piece | None = None) -> None:
        """Give the extent another root: its free pieces move over, *gained* joins them."""
        extent.free = extent.free.moved(piece)
        if gained is not None:
            extent.free.give(*gained)

    # -- shrinking ----------------------------------------------------------------------------

    def trim(self, *, below: float = LOW_USE) -> None:
        """Release empty supernets, but each subnet's last, and empty halves of those used under *below*."""
        for extent in list(self._all()):
            if extent in self.extents[extent.subnet]:
                self._close_if_empty(extent)
        for extent in list(self._all()):
            while (half := self._empty_half(extent)) and extent.used < below * self._size(extent):
                self._release_half(extent, half)
        self._unite()

    def reclaim(self, subnet: str, prefix: Prefix) -> None:
        """What of *prefix*, which *subnet* released, it has not taken back may be anybody's."""
        for part in self.still_released(subnet, prefix):
            self.reclaiming[subnet].take(part.value, part.length)
            (self.extent_around(part) or self).free.give(part.value, part.length)

    def still_released(self, subnet: str, prefix: Prefix) -> list[Prefix]:
        """The parts of *prefix* that the subnet released, and that are not reclaimed."""
        left = self._reclaiming_of(subnet)
        if left.holder(prefix.value, prefix.length):
            return [prefix]
        return [self._prefix(piece) for piece in sorted(left.inside(prefix.value, prefix.length))]

    def _reclaiming_of(self, subnet: str) -> Pieces:
        return self.reclaiming.setdefault(subnet, Pieces(self.free.root, self.width))

    def _release(self, subnet: str, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._reclaiming_of(subnet).give(*piece)
            self.released.append((subnet, self._prefix(piece)))

    def _unite(self) -> None:
        """Make one supernet of any two of a subnet that are buddies: one route less."""
        for extents in self.extents.values():
            longest_first = sorted(extents, key=lambda extent: -extent.piece[1])
            for extent in longest_first:
                while extent in extents and (other := self._sibling(extent)) is not None:
                    self._absorb(extent, other)

    def _sibling(self, extent: Extent) -> Extent | None:
        value, length = extent.piece
        around = self.cidr.length if extent.lender is None else extent.lender.piece[1] + 1
        if length <= around:
            return None
        buddy = (value ^ (1 << (self.width - length)), length)
        same = (e for e in self.extents[extent.subnet] if e.piece == buddy and e.lender is extent.lender)
        return next(same, None)

    def _absorb(self, extent: Extent, other: Extent) -> None:
        value, length = extent.piece
        self._resize(extent, (min(value, other.piece[0]), length - 1))
        for piece in other.free.inside(*other.piece):
            extent.free.give(*piece)
        extent.used += other.used
        extent.lent += other.lent
        for borrower in self._all():
            if borrower.lender is other:
                borrower.lender = extent
        self.extents[extent.subnet].remove(other)
        if extent.lender is not None:
            extent.lender.lent -= 1

    def _size(self, extent: Extent) -> int:
        return self._size_of(extent.piece)

    def _empty_half(self, extent: Extent) -> Piece | None:
        """The half that can go: the upper one if both could. An empty supernet keeps its last block.

        What others borrow in a half does not hold it: it becomes their own when the half goes.
        """
        value, length = extent.piece
        if length >= self.width or length >= self._shortest(extent):
            return None
        upper = (value + (1 << (self.width - length - 1)), length + 1)
        for half in (upper, (value, length + 1)):
            if extent.free.holder(*half) or self._is_lent_or_free(extent, half):
                return half
        return None

    def _is_lent_or_free(self, extent: Extent, half: Piece) -> bool:
        lent = [borrower.piece for borrower in self._borrowers(extent, half)] if extent.lent else []
        lent += [piece for left in self.reclaiming.values() for piece in left.inside(*half)]
        pieces = [*extent.free.inside(*half), *lent] if lent else []
        return sum(map(self._size_of, pieces)) == self._size_of(half)

    def _borrowers(self, extent: Extent, half: Piece) -> list[Extent]:
        """Who borrows from the extent inside that half."""
        value, size = half[0], self._size_of(half)
        return [e for e in self._all() if e.lender is extent and value <= e.piece[0] < value + size]

    def _size_of(self, piece: Piece) -> int:
        return 1 << (self.width - piece[1])

    def _shortest(self, extent: Extent) -> int:
        """Supernets without a block stop shrinking at the size of a first one."""
        if extent.used:
            return self.width
        shares = max(self.expected, len(self.extents)) - 1
        return min(self.cidr.length + SPREAD + shares.bit_length(), self.width)

    def _release_half(self, extent: Extent, half: Piece) -> None:
        pieces = [half] if extent.free.holder(*half) else extent.free.inside(*half)
        for piece in pieces:
            extent.free.take(*piece)
        for borrower in self._borrowers(extent, half):
            borrower.lender = None
            extent.lent -= 1
        value, length = extent.piece
        other = (value if half[0] != value else value + (1 << (self.width - length - 1)), length + 1)
        self._resize(extent, other)
        self._release(extent.subnet, pieces)

    def _close_if_empty(self, extent: Extent) -> None:
        """Release an empty supernet, unless it is its subnet's last."""
        siblings = self.extents[extent.subnet]
        if extent.used or len(siblings) == 1 or extent.free.holder(*extent.piece) is None:
            return
        siblings.remove(extent)
        if extent.lender is not None:
            extent.lender.lent -= 1
        self._release(extent.subnet, [extent.piece])

    def _take_by_borrowing(self, subnet: str, length: int) -> Prefix | None:
        """Borrow in the supernet of another subnet; never in a borrowed one, so that routes nest once.

        At its top end: the lender fills its own from the bottom, so it may release that half one day.
        """
        if self._grow_borrowed(subnet, length):
            return self._take_lowest(subnet, length)
        offers = [
            (largest, extent)
            for owner, extents in self.extents.items()
            if owner != subnet
            for extent in extents
            if extent.lender is None and (largest := extent.free.largest(top=True)) and largest[1] <= length
        ]
        if not offers:
            return None
        (value, shortest), lender = min(offers, key=lambda offer: (offer[0][1], -offer[0][0]))
        wanted = min(max(self._next_length(subnet), shortest), length)
        value += self._size_of((value, shortest)) - self._size_of((value, wanted))
        lender.free.take(value, wanted)
        lender.lent += 1
        self._open(subnet, (value, wanted), lender)
        return self._take_lowest(subnet, length)

    def _grow_borrowed(self, subnet: str, length: int) -> bool:
        """Borrow the buddy of what is borrowed, if that is no more than would be borrowed anyway."""
        longest = self._next_length(subnet) - 1
        for extent in self._biggest_first(self.extents.get(subnet, ())):
            value, old = extent.piece
            lender = extent.lender
            if lender is None or old > length or old < longest or old - 1 <= lender.piece[1]:
                continue
            buddy = value ^ (1 << (self.width - old))
            if self._take_free_or_released(subnet, (buddy, old), lender):
                self._resize(extent, (min(value, buddy), old - 1), gained=(buddy, old))
                return True
        return False
