"""The kernel switches that relaying needs: set, verified, and watched for others who reset them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc/sys/net")
FOUGHT_AFTER = 3
"""Resets of one switch after which something else must be at work."""


def wanted_switches(interface: str, *, ipv6: bool) -> dict[str, str]:
    """Switch (below ``/proc/sys/net``) to value, in the order of setting.

    ``ip_forward`` comes first, since the kernel flips ``accept_redirects`` along with it.
    A redirect is sent if either ``all`` or the interface says so, hence both are cleared; the
    effective ``rp_filter`` is the greater of the two, so the interface's is set: 2 (loose) takes
    packets that come back another way than they went. With IPv6 forwarding a host ignores router
    advertisements, and loses its default route, unless ``accept_ra`` is 2: it comes first.
    """
    scopes = ("all", "default", interface)
    wanted = {"ipv4/ip_forward": "1"}
    wanted |= {f"ipv4/conf/{scope}/send_redirects": "0" for scope in scopes}
    wanted |= {f"ipv4/conf/{scope}/accept_redirects": "0" for scope in scopes}
    wanted |= {f"ipv4/conf/{interface}/rp_filter": "2"}
    if ipv6:
        wanted |= {f"ipv6/conf/{interface}/accept_ra": "2", "ipv6/conf/all/forwarding": "1"}
    return wanted


@dataclass
class Switches:
    """What we know of the switches: which were found reset, and how often."""

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

    def fought(self) -> tuple[str, ...]:
        """Switches that something else keeps resetting."""
        return tuple(sorted(switch for switch, count in self.resets.items() if count >= FOUGHT_AFTER))
