"""Carries the region's changes into the fabric: boots and halts machines, steers packets by the route tables.

The lab makes one; the region calls it with every change. As on EC2, a change takes effect a moment after
its call was answered, and changes take effect in the order of the calls.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from podway.domain.addressing import Prefix

from podway_lab.fabric.fabric import Fabric
from podway_lab.region.changes import (
    Change,
    InstanceStateChanged,
    RouteWritten,
    SourceDestCheckChanged,
    SubnetCreated,
    TableAssociated,
    TableDisassociated,
)
from podway_lab.region.model import StrictEC2
from podway_lab.region.state import Route

log = logging.getLogger(__name__)


class Machines(Protocol):
    """Boots and halts what runs on an instance."""

    def boot(self, instance: str) -> None: ...
    def halt(self, instance: str) -> None: ...


class _Worker:
    """A thread that carries out actions in the order given. It keeps the faults, and goes on."""

    def __init__(self, name: str, faults: list[str]) -> None:
        self._actions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._idle = threading.Condition()
        self._pending = 0
        self._faults = faults
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def give(self, action: Callable[[], None]) -> None:
        """Carry *action* out after everything given before."""
        with self._idle:
            self._pending += 1
        self._actions.put(action)

    def settle(self, timeout: float) -> None:
        """Wait until everything given has been done. Raises TimeoutError."""
        with self._idle:
            if not self._idle.wait_for(lambda: self._pending == 0, timeout):
                raise TimeoutError("the fabric did not keep up with the region")

    def _work(self) -> None:
        while True:
            action = self._actions.get()
            try:
                action()
            except Exception as error:  # the thread must go on; the fault is reported
                log.debug("a change could not be followed", exc_info=True)
                self._faults.append(f"{type(error).__name__}: {error}")
            finally:
                with self._idle:
                    self._pending -= 1
                    self._idle.notify_all()


class Mirror:
    """Follows *ec2* in *fabric*; without a fabric only machines follow.

    Routes and machines have a thread each: machines take long to boot, and routes must not wait for them.
    """

    def __init__(self, ec2: StrictEC2, fabric: Fabric | None, machines: Machines) -> None:
        self._ec2, self._fabric, self._machines = ec2, fabric, machines
        self.faults: list[str] = []
        """What could not be carried out. A lab that has any is broken."""
        self._network = _Worker("network", self.faults)
        self._power = _Worker("power", self.faults)
        ec2.subscribe(self._listen)

    def settle(self, timeout: float = 60) -> None:
        """Wait until the fabric has followed every change so far. Raises TimeoutError."""
        self.settle_network(timeout)
        self._power.settle(timeout)

    def settle_network(self, timeout: float = 60) -> None:
        """Wait until packets go as the route tables say. Raises TimeoutError."""
        self._network.settle(timeout)

    def _listen(self, change: Change) -> None:
        match change:
            case InstanceStateChanged(state="running"):
                self._afterwards(partial(self._machines.boot, change.instance))
            case InstanceStateChanged(state="stopping" | "stopped" | "shutting-down" | "terminated"):
                self._network.give(partial(self._silence, change.instance))
                self._afterwards(partial(self._machines.halt, change.instance))
            case _ if self._fabric is not None:
                self._network.give(partial(self._steer, self._fabric, change))

    def _afterwards(self, action: Callable[[], None]) -> None:
        """Carry *action* out once the network has followed everything so far. A machine needs its subnet."""
        self._network.give(partial(self._power.give, action))

    def _silence(self, instance: str) -> None:
        host = self._fabric.hosts.get(instance) if self._fabric else None
        if host is not None:
            host.drop_everything(on=True)

    def _steer(self, fabric: Fabric, change: Change) -> None:
        match change:
            case SubnetCreated():
                fabric.add_subnet(change.subnet, str(change.cidr))
                self._apply(fabric, self._ec2.state.table_of(change.subnet).id)
            case SourceDestCheckChanged():
                fabric.set_source_dest_check(change.interface, on=change.enabled)
            case RouteWritten() | TableAssociated():
                self._apply(fabric, change.table)
            case TableDisassociated(subnet=subnet) if subnet:
                self._apply(fabric, self._ec2.state.table_of(subnet).id)

    def _apply(self, fabric: Fabric, table: str) -> None:
        with self._ec2.held() as state:
            present = state.tables.get(table)
            subnets = state.subnets_of(table)
        if present is not None:
            fabric.apply_route_table(table, subnets, next_hops(present.routes))


def next_hops(routes: Mapping[Prefix | str, Route]) -> dict[Prefix, str | None]:
    """The interface that each destination leads to. None: it leads out of the VPC, and the lab drops it."""
    return {
        destination: route.target.id if route.target.kind == "NetworkInterfaceId" else None
        for destination, route in routes.items()
        if isinstance(destination, Prefix) and not route.is_local
    }
