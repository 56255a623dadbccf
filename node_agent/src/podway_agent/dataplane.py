"""Brings the node's kernel to what a snapshot says, and reports the faults that prevent it.

Loop asks for each convergence; doctor asks where the node is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from podway.domain.addressing import WIDTH, Prefix
from podway.wire.snapshot import Snapshot

from podway_agent.host.identity import Identity
from podway_agent.kernel import forwarding, routing
from podway_agent.kernel.desired import DesiredRoutes, Position, desired_routes, vpc_router
from podway_agent.kernel.difference import Add, Change, Difference, Remove, difference
from podway_agent.kernel.membership import own_blocks
from podway_agent.kernel.netlink import KernelRefused, Netlink, Request
from podway_agent.kernel.nft import Filtering, NftFailed, Table
from podway_agent.kernel.routing import KernelRoute, Link
from podway_agent.kernel.sysctl import Switches, wanted_switches
from podway_agent.pods import conflist
from podway_agent.probing.paths import ProbePaths
from podway_agent.probing.targets import ProbeTargets, targets_of
from podway_agent.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one convergence found and did."""

    generation: int
    desired: int = 0
    """Number of routes that should be."""
    present: int = 0
    """Of these, in the kernel afterwards."""
    changed: int = 0
    """Number of changes that were made."""
    faults: tuple[str, ...] = ()
    """Everything that keeps the kernel from holding the generation."""
    warnings: tuple[str, ...] = ()
    """What an operator should know although the generation is held."""
    cni_written: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the kernel holds everything of the generation."""
        return not self.faults


@dataclass
class Dataplane:
    """One node's kernel. Belongs to the network namespace in which it was made."""

    settings: Settings
    identity: Identity
    kernel: Netlink = field(default_factory=Netlink)
    table: Table = field(default_factory=Table)
    switches: Switches = field(init=False)
    paths: ProbePaths = field(default_factory=ProbePaths)
    suspects: Callable[[], Collection[str]] = frozenset
    """Forwarders that must still be probed, whatever the snapshot says."""
    targets: ProbeTargets = field(default_factory=ProbeTargets)
    """What this node probes."""
    link: Link | None = None
    """The node's interface, as last seen."""
    wanted: DesiredRoutes = field(default_factory=lambda: DesiredRoutes({}))
    """What was last desired. Loop tells by it which of the kernel's events concern us."""
    _wanted_for: tuple[Snapshot, Position] | None = None

    def __post_init__(self) -> None:
        self.switches = Switches(self.settings.sysctl_dir)

    def converge(self, snapshot: Snapshot, *, look: bool) -> Outcome:
        """Make the kernel hold *snapshot*; with *look*, also see whether others changed our filters.

        Safe to repeat. Raises nothing when the kernel or a file refuses: the outcome names the fault.
        """
        try:
            self.link = self.find_link()
        except OSError as error:
            return Outcome(snapshot.generation, faults=(f"links: {error}",))
        if self.link is None or not self.link.up:
            name = self.settings.interface or f"with {self.identity.address}"
            return Outcome(snapshot.generation, faults=(f"no interface {name} is up",))
        warnings: list[str] = []
        faults = self._set_switches(snapshot, self.link, warnings)
        try:
            observed = routing.main_routes(self.kernel)
        except OSError as error:
            return Outcome(snapshot.generation, faults=(*faults, f"routes: {error}"))
        position = self.position(snapshot, self.link, observed)
        faults += self._filter(snapshot, self.link, position, warnings, look=look)
        position = position._replace(refuses=self.table.installed)
        routes, changed = self._route(snapshot, position, observed, faults)
        faults += self.wanted.impossible
        warnings += self._probe(snapshot, self.link)
        written = False
        if not faults:
            written = self._admit_pods(snapshot, self.link, faults)
        return Outcome(
            generation=snapshot.generation,
            desired=len(self.wanted.routes),
            present=routes.present if routes else 0,
            changed=changed,
            faults=tuple(faults),
            warnings=tuple(warnings),
            cni_written=written,
        )

    def find_link(self) -> Link | None:
        """The interface that is named, or holds the primary address. Raises OSError."""
        found = routing.links(self.kernel)
        if self.settings.interface:
            return next((link for link in found if link.name == self.settings.interface), None)
        number = routing.holder(self.kernel, self.identity.address)
        return next((link for link in found if link.number == number), None)

    def _set_switches(self, snapshot: Snapshot, link: Link, warnings: list[str]) -> list[str]:
        ipv6 = any(cidr.version == 6 for cidr in snapshot.pod_cidrs)  # noqa: PLR2004  (the family's own number)
        faults = self.switches.ensure(wanted_switches(link.name, ipv6=ipv6))
        warnings += [f"something else keeps resetting {switch}" for switch in self.switches.fought()]
        return [f"{switch}: {reason}" for switch, reason in faults.items()]

    def _filter(
        self, snapshot: Snapshot, link: Link, position: Position, warnings: list[str], *, look: bool
    ) -> list[str]:
        filtering = Filtering(
            interface=link.name,
            own_blocks=own_blocks(snapshot, self.identity.instance),
            reachable_here=snapshot.reachable_here,
            pod_cidrs=snapshot.pod_cidrs,
            elsewhere=snapshot.elsewhere,
            routers=tuple(
                Prefix(version, one, WIDTH[version])
                for version, found in position.routers.items()
                for one in found
            ),
            keep_source_towards=self.settings.keep_source_towards,
            metadata_for_pods=self.settings.metadata_for_pods,
        )
        try:
            self.table.ensure(filtering, look=look)
        except NftFailed as error:
            return [str(error)]
        if not look:
            return []
        faults, doubts = forwarding.ensure_acceptance(link.name, snapshot.pod_cidrs)
        warnings += doubts
        return faults

    def position(self, snapshot: Snapshot, link: Link, observed: list[KernelRoute]) -> Position:
        """The node's position, by the subnet's ranges and the kernel's default routes."""
        routers = {}
        for version in routing.versions():
            own = vpc_router(snapshot, self.identity.address) if version == 4 else None  # noqa: PLR2004  (the family's own number)
            used = routing.default_gateway(observed, version=version, link=link.number)
            if found := tuple(dict.fromkeys(one for one in (own, used) if one is not None)):
                routers[version] = found
        return Position(self.identity.instance, link.number, routers)

    def _want(self, snapshot: Snapshot, position: Position) -> None:
        """Compute what is desired, unless it was computed for the same snapshot and position."""
        if self._wanted_for is None or self._wanted_for[0] is not snapshot or self._wanted_for[1] != position:
            self.wanted = desired_routes(snapshot, position)
            self._wanted_for = (snapshot, position)

    def _route(
        self, snapshot: Snapshot, position: Position, observed: list[KernelRoute], faults: list[str]
    ) -> tuple[Difference | None, int]:
        """Change what differs, then look again: only what is seen counts as held."""
        self._want(snapshot, position)
        try:
            found = difference(desired=self.wanted.routes, observed=observed)
            faults += [f"{change.route}: {error}" for change, error in self._apply(found.changes)]
            changed = len(found.changes)
            if found.changes:
                observed = routing.main_routes(self.kernel)
                found = difference(desired=self.wanted.routes, observed=observed)
                faults += [f"{change} is still to be done" for change in found.changes]
        except OSError as error:
            faults.append(f"routes: {error}")
            return None, 0
        faults += [
            f"foreign route (protocol {conflict.foreign.protocol}) stands in the way of ours"
            f" to {conflict.wanted.key.prefix}"
            for conflict in found.conflicts
        ]
        return found, changed

    def _apply(self, changes: tuple[Change, ...]) -> list[tuple[Change, KernelRefused]]:
        answers = self.kernel.ask([_request(change) for change in changes])
        return [(change, error) for change, error in zip(changes, answers, strict=True) if error]

    def _probe(self, snapshot: Snapshot, link: Link) -> list[str]:
        """Install what probing needs. A fault is a warning only: the node serves pods all the same."""
        targets = targets_of(snapshot, self.identity.instance, before=self.targets, suspects=self.suspects())
        self.targets = targets if self.settings.probe_seconds else ProbeTargets(targets.holds)
        return self.paths.ensure(self.kernel, self.targets, link.number)

    def _admit_pods(self, snapshot: Snapshot, link: Link, faults: list[str]) -> bool:
        try:
            return conflist.ensure_conflist(
                self.settings.cni_conf_dir,
                snapshot,
                self.identity.instance,
                data_dir=self.settings.cni_data_dir,
                mtu=self.settings.mtu or link.mtu,
            )
        except OSError as error:
            faults.append(f"CNI configuration: {error}")
            return False


def _request(change: Change) -> Request:
    match change:
        case Add(route):
            return routing.adding(route)
        case Remove(route):
            return routing.removing(route)
        case _:
            return routing.replacing(change.route)
