"""The kernel switches that relaying needs: set, verified, and watched for others who reset them.

Dataplane sets them, loop asks what the kernel's notices mean, doctor compares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from socket import AF_INET, AF_INET6
from sys import byteorder

from podway_agent.kernel.netlink import attributes

PROC = Path("/proc/sys/net")
NETCONF_HEADER = 4
NETCONF_LINK, NETCONF_FORWARDING, NETCONF_LOOSENESS = 1, 2, 3
"""NETCONFA_IFINDEX, _FORWARDING and _RP_FILTER of the kernel's uapi/linux/netconf.h."""
ALL_LINKS = -1
LOOSE = 2
FORWARDING_6 = "ipv6/conf/all/forwarding"
FOUGHT_AFTER = 3
"""Resets of one switch after which something else must be at work."""


def wanted_switches(interface: str, *, ipv6: bool) -> dict[str, str]:
    """Switch (below ``/proc/sys/net``) to value, in the order of setting.

    - ``ip_forward`` comes first: the kernel changes ``accept_redirects`` and every interface's
      ``forwarding`` along with it. An interface that has its own off relays nothing that it receives.
    - ``send_redirects``: a redirect is sent if either ``all`` or the interface says so. Both are cleared.
    - ``rp_filter``: the greater of ``all`` and the interface counts, hence the interface's is set. 2 (loose)
      takes packets that come back another way than they went.
    - ``arp_announce`` is 2 since probes have a pod's address. Otherwise the ARP requests that they cause
      would have it too. The neighbour asked would not learn who has the node's address now, after another
      node had it.
    - ``accept_ra`` is 2, and is set before IPv6's ``forwarding``: a host that forwards would otherwise ignore
      router advertisements, and lose its default route.
    """
    scopes = ("all", "default", interface)
    wanted = {"ipv4/ip_forward": "1", f"ipv4/conf/{interface}/forwarding": "1"}
    wanted |= {f"ipv4/conf/{scope}/send_redirects": "0" for scope in scopes}
    wanted |= {f"ipv4/conf/{scope}/accept_redirects": "0" for scope in scopes}
    wanted |= {f"ipv4/conf/{interface}/rp_filter": str(LOOSE), f"ipv4/conf/{interface}/arp_announce": "2"}
    if ipv6:
        wanted |= {f"ipv6/conf/{interface}/accept_ra": "2", FORWARDING_6: "1"}
    return wanted


@dataclass
class Switches:
    """Sets the switches, and remembers which were found reset, and how often."""

    root: Path = PROC
    resets: Counter[str] = field(default_factory=Counter)
    _held: set[str] = field(default_factory=set)

    def ensure(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Set what is not as wanted; per switch that still is not, the reason."""
        faults = {}
        for switch, value in wanted.items():
            path = self.root / switch
            try:
                if path.read_text(encoding="ascii").strip() != value:
                    if switch in self._held:
                        self.resets[switch] += 1
                    path.write_text(value, encoding="ascii")
                    if (now := path.read_text(encoding="ascii").strip()) != value:
                        faults[switch] = f"is {now} after {value} was written"
                        continue
                self._held.add(switch)
            except OSError as error:
                faults[switch] = error.strerror or str(error)
        return faults

    def are_reset_by(self, event: bytes, link: int | None) -> bool:
        """Whether the kernel's notice (RTM_NEWNETCONF) says that a switch is not as we set it.

        The kernel gives notice of forwarding and of the source check only. The other switches are compared
        with everything else.
        """
        found = attributes(event, NETCONF_HEADER)
        said = {kind: int.from_bytes(value, byteorder, signed=True) for kind, value in found.items()}
        about = said.get(NETCONF_LINK)
        stopped = said.get(NETCONF_FORWARDING) == 0 and about in (ALL_LINKS, link)
        if event[0] == AF_INET6:
            return stopped and FORWARDING_6 in self._held
        strict = about == link and said.get(NETCONF_LOOSENESS, LOOSE) != LOOSE
        return event[0] == AF_INET and bool(self._held) and (stopped or strict)

    def fought(self) -> tuple[str, ...]:
        """Switches that something else keeps resetting."""
        return tuple(sorted(switch for switch, count in self.resets.items() if count >= FOUGHT_AFTER))
