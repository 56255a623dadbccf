"""Tells which of the kernel's notices of changed filters concern us. Loop asks. Legacy iptables causes none.

Notices are not decoded: a few bytes are looked for (an attribute's length, type and text, as in the kernel's
uapi/linux/netfilter/nf_tables.h). kube-proxy causes thousands of notices at a time, which must cost little.
"""

from __future__ import annotations

import logging
import struct

from podway_agent.kernel.netlink import NETLINK_NETFILTER, Message, Watch
from podway_agent.kernel.nft import TABLE
from podway_agent.kernel.programs import STARTED

log = logging.getLogger(__name__)

GROUP = 7
"""NFNLGRP_NFTABLES"""
TABLES = 10 << 8
"""NFNL_SUBSYS_NFTABLES, in the upper byte of a message's type."""
NEW_CHAIN, DELETED_CHAIN, DELETED_RULE = TABLES | 3, TABLES | 5, TABLES | 8
NAME_OF_TABLE, CHAIN_OF_RULE, NAME_OF_CHAIN = 1, 2, 3


def _attribute(kind: int, text: str) -> bytes:
    value = text.encode() + b"\0"
    return struct.pack("=HH", 4 + len(value), kind) + value


OURS = _attribute(NAME_OF_TABLE, TABLE)
FORWARD = {
    NEW_CHAIN: _attribute(NAME_OF_CHAIN, "FORWARD"),
    DELETED_CHAIN: _attribute(NAME_OF_CHAIN, "FORWARD"),
    DELETED_RULE: _attribute(CHAIN_OF_RULE, "FORWARD"),
}


def watch() -> Watch:
    """The notices; none on a kernel without nftables (the table's own fault says that)."""
    try:
        return Watch((GROUP,), NETLINK_NETFILTER)
    except OSError as error:
        log.warning("filters not watched", extra={"reason": str(error)})
        return Watch(())


def concerns_filters(event: Message) -> bool:
    """Whether somebody else changed our table, or the FORWARD chain of iptables (its policy, our rules)."""
    if event.port in STARTED:
        return False
    wanted = FORWARD.get(event.kind)
    return OURS in event.payload or (wanted is not None and wanted in event.payload)
