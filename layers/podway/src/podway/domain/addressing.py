"""Prefixes of the address space, as immutable values that sort in trie order.

Every room of ``domain`` computes on them. Only ``wire`` and the adapters parse and print text.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

IPV4 = 4
WIDTH = {IPV4: 32, 6: 128}
"""Bits of an address, by family."""


class Prefix(NamedTuple):
    """A canonical CIDR: *version* 4 or 6, the network address as an integer, the prefix *length*.

    Sorts by family, then address, then length: a prefix comes right before everything inside it.
    """

    version: int
    value: int
    length: int

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """The prefix that *text* names. Raises ValueError on bad syntax or host bits."""
        try:
            network = ipaddress.ip_network(text, strict=True)
        except ValueError as error:
            if "host bits" in str(error):
                raise ValueError(f"{text} has host bits set") from None
            raise ValueError(f"{text!r} is not an IPv4 or IPv6 CIDR") from None
        return cls(network.version, int(network.network_address), network.prefixlen)

    @classmethod
    def of_address(cls, text: str) -> Prefix:
        """The full-length prefix of one address. Raises ValueError on bad syntax."""
        address = ipaddress.ip_address(text)
        return cls(address.version, int(address), WIDTH[address.version])

    def __str__(self) -> str:
        return f"{self.first_address}/{self.length}"

    @property
    def first_address(self) -> str:
        """The network address as text."""
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address  # noqa: PLR2004  (the family's own number)
        return str(kind(self.value))

    @property
    def size(self) -> int:
        """How many addresses it holds."""
        return 1 << (WIDTH[self.version] - self.length)

    @property
    def last(self) -> int:
        """Its last address as an integer."""
        return self.value + self.size - 1

    def contains(self, other: Prefix) -> bool:
        """Whether *other* is this prefix or lies inside it."""
        return (
            self.version == other.version
            and self.length <= other.length
            and self.value == other.value & -self.size
        )

    def overlaps(self, other: Prefix) -> bool:
        """Whether the two share an address."""
        return self.contains(other) or other.contains(self)

    def at(self, length: int) -> Prefix:
        """The prefix of *length* around its first address: wider, itself, or its lowest part."""
        size = 1 << (WIDTH[self.version] - length)
        return Prefix(self.version, self.value & -size, length)

    def halves(self) -> tuple[Prefix, Prefix]:
        """Its lower and upper half. Raises ValueError for a single address."""
        if self.length == WIDTH[self.version]:
            raise ValueError(f"{self} has no halves")
        longer = self.length + 1
        return Prefix(self.version, self.value, longer), Prefix(
            self.version, self.value + self.size // 2, longer
        )

    def buddy(self) -> Prefix:
        """The other half of the prefix one bit shorter. Raises ValueError for /0."""
        if not self.length:
            raise ValueError(f"{self} has no buddy")
        return Prefix(self.version, self.value ^ self.size, self.length)
