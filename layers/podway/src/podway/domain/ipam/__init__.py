"""Addresses for nodes: every subnet owns supernets, every node blocks inside a supernet of its subnet.

Reconcile calls :func:`allocate` and :func:`release`; both take the whole address space as a value
and return a new one. Growth order is the caller's: allocate, then route, and only then hand a new
block to its node; to shrink: withdraw the route, wait, and only then hand the space to somebody else.
"""

from podway.domain.ipam.space import (
    AddressSpace,
    Allocation,
    Assigned,
    NoRoom,
    Resting,
    Supernet,
    Want,
    allocate,
    release,
    trim,
)

__all__ = [
    "AddressSpace",
    "Allocation",
    "Assigned",
    "NoRoom",
    "Resting",
    "Supernet",
    "Want",
    "allocate",
    "release",
    "trim",
]
