"""A strict model of EC2, in the words of its API, on an injected clock.

Tests and simulation call it in-process; `server` serves it over HTTP. `StrictEC2.client` gives what a boto3
EC2 client gives: methods, paginators, dictionaries, ClientError. It refuses what it does not model. The
sources of what AWS does are named beside the operations. moto answers for every other service of the lab,
but is too kind here: it ignores quotas, DryRun, black holes, pages and more.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore import xform_name
from botocore.exceptions import OperationNotPageableError, ParamValidationError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.paginate import Paginator
from botocore.validate import ParamValidator

from podway_lab.region import instance_types, instances, interfaces, network, routes, tables
from podway_lab.region.calls import CallLog
from podway_lab.region.changes import Change
from podway_lab.region.errors import refusal
from podway_lab.region.faults import Faults, Kind
from podway_lab.region.operation import Answer, Operation, Request, Settings
from podway_lab.region.policies import Policy, ec2_concerned
from podway_lab.region.state import Route, State
from podway_lab.region.throttle import Buckets

_OPERATIONS: Mapping[str, Operation] = {
    **network.NETWORK_OPERATIONS,
    **tables.TABLE_OPERATIONS,
    **routes.ROUTE_OPERATIONS,
    **interfaces.INTERFACE_OPERATIONS,
    **instances.INSTANCE_OPERATIONS,
    **instance_types.INSTANCE_TYPE_OPERATIONS,
}
Listener = Callable[[Change], None]
AWS = "aws"
"""The caller of what happens by itself."""
_REMEMBERED = timedelta(minutes=5)


def _now() -> datetime:
    return datetime.now(UTC)


class StrictEC2:
    """The region's EC2. Safe to call from several threads; each call is atomic."""

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] = _now,
        settings: Settings | None = None,
        faults: Faults | None = None,
        throttled: bool = False,
    ) -> None:
        self.clock = clock
        self.settings = settings or Settings()
        self.faults = faults or Faults()
        self.calls = CallLog(clock)
        self.state = State()
        self._buckets = Buckets(clock) if throttled else None
        self._listeners: list[Listener] = []
        self._policies: dict[str, Policy] = {}
        self._past: list[tuple[datetime, State]] = []
        self._answers: dict[tuple[str, str], tuple[Mapping[str, Any], Answer]] = {}
        self._lock = threading.RLock()

    def client(self, caller: str = "operator") -> Client:
        """A boto3-shaped client whose calls are *caller*'s."""
        return Client(self, caller)

    def bind(self, caller: str, policy: Policy) -> None:
        """Let *caller* do what *policy* allows; who was never bound may do everything."""
        self._policies[caller] = policy

    def subscribe(self, listener: Listener) -> None:
        """Tell *listener* of every change, as it happens, in order, within the call that makes it.

        It may read `state`. It must be quick, must not raise, and must not wait for another thread that
        calls the region: a listener that reacts with calls must put the change on a queue.
        """
        self._listeners.append(listener)

    @contextmanager
    def held(self) -> Iterator[State]:
        """The state, which nobody changes during the block."""
        with self._lock:
            yield self.state

    def call(self, operation: str, given: Mapping[str, Any], caller: str) -> Answer:
        """Answer one call whose parameters have the types of botocore's model. Raises ClientError."""
        action = f"ec2:{operation}"
        with self.calls.entry(caller, action, given), self.faults.around(action, caller, given) as struck:
            known = _OPERATIONS.get(operation)
            if known is None:
                raise refusal(operation, "UnsupportedOperation", f"The lab has no {operation}")
            if unknown := given.keys() - known.parameters - {"ClientToken"}:
                names = ", ".join(sorted(unknown))
                raise refusal(operation, "UnsupportedOperation", f"The lab's {operation} has no {names}")
            with self._lock:
                answer = self._carry_out(known, given, caller, struck.old)
            return self.faults.altered(answer, struck)

    def _carry_out(self, operation: Operation, given: Mapping[str, Any], caller: str, age: float) -> Answer:
        if self._buckets and not self._buckets.take(operation.name, given):
            raise refusal(operation.name, "RequestLimitExceeded", "Request limit exceeded.")
        self._authorize(operation.name, given, caller)
        if given.get("DryRun"):
            raise refusal(
                operation.name,
                "DryRunOperation",
                "Request would have succeeded, but DryRun flag is set.",
            )
        self.settle()
        if operation.reads:
            return operation.answer(self._request(operation.name, given, caller, self._as_of(age)))
        self._remember()
        answer = self._once(operation, given, caller)
        self.settle()
        return answer

    def _authorize(self, operation: str, given: Mapping[str, Any], caller: str) -> None:
        """Raises UnauthorizedOperation for what the caller's policy does not allow."""
        policy = self._policies.get(caller)
        if policy is None:
            return
        for concerned in ec2_concerned(operation, given, self.state, self.settings):
            if not policy.allows(f"ec2:{operation}", concerned):
                raise refusal(
                    operation,
                    "UnauthorizedOperation",
                    f"You are not authorized to perform this operation. {caller} is not authorized to "
                    f"perform: ec2:{operation} on resource: {concerned.arn} "
                    "because no identity-based policy allows it",
                )

    def _once(self, operation: Operation, given: Mapping[str, Any], caller: str) -> Answer:
        """Answer the call. The same ClientToken gets the same answer, and has no second effect."""
        token = given.get("ClientToken")
        if token and (operation.name, token) in self._answers:
            before, answer = self._answers[operation.name, token]
            if before != given:
                raise refusal(
                    operation.name,
                    "IdempotentParameterMismatch",
                    f"The parameters differ from those first given with client token {token}",
                )
            return answer
        answer = operation.answer(self._request(operation.name, given, caller, self.state))
        if token:
            self._answers[operation.name, token] = (given, answer)
        return answer

    def settle(self, instance: str | None = None) -> None:
        """Move on the instances whose state has lasted long enough; *instance* at once.

        Every call does this first. Call it now and then while you wait for a state by the clock.
        """
        with self._lock:
            request = self._request("", {}, AWS, self.state)
            if due := instances.due(request) if instance is None else [instance]:
                self._remember()
                instances.settle(request, due)

    def plant(self, table: str, route: Route) -> None:
        """Put a route into a table as AWS does by itself: propagated, advertised, or of a prefix list."""
        with self._lock:
            self._remember()
            request = self._request("", {}, AWS, self.state)
            found = self.state.tables[table]
            routes.write(request, found, before=found.routes.get(route.destination), after=route)

    def attach_efa_only(self, instance: str) -> str:
        """Gives an instance a second network card with an interface that has no address; its id."""
        with self._lock:
            request = self._request("", {}, AWS, self.state)
            return interfaces.attach_efa_only(request, self.state.instances[instance]).id

    def disrupt(self, *zones: str) -> None:
        """Lets EC2 say nothing of these Availability Zones any more; without any, all is well again."""
        with self._lock:
            self._remember()
            self.state.disrupted = frozenset(zones)

    def lose_sight(self, *instances: str) -> None:
        """Lets EC2 know nothing of these instances, which go on (``*``: of any); without any, all is well."""
        with self._lock:
            self._remember()
            self.state.unseen = frozenset(instances)

    def tell(self, change: Change) -> None:
        """Hand *change* to the listeners."""
        with self._lock:
            for listener in self._listeners:
                listener(change)

    def _request(self, operation: str, given: Mapping[str, Any], caller: str, state: State) -> Request:
        return Request(operation, given, caller, self.clock(), state, self.settings, self.tell)

    def _remember(self) -> None:
        """Keep the state before a change, as long as a stale read may show it."""
        if not self.faults.armed(Kind.STALE):
            self._past.clear()
            return
        now = self.clock()
        self._past = [(at, state) for at, state in self._past if now - at < _REMEMBERED]
        self._past.append((now, self.state.snapshot()))

    def _as_of(self, age: float) -> State:
        """The state *age* seconds ago: the one before the first change since."""
        then = self.clock() - timedelta(seconds=age)
        return next((state for at, state in self._past if at > then), self.state) if age else self.state


@functools.cache
def ec2_model() -> ServiceModel:
    """Botocore's description of EC2 (a third of a second to load, once)."""
    return ServiceModel(Loader().load_service_model("ec2", "service-2"), "ec2")


@functools.cache
def _methods() -> Mapping[str, str]:
    return {xform_name(name): name for name in ec2_model().operation_names}


@functools.cache
def _paginators() -> Mapping[str, Any]:
    pages: Mapping[str, Any] = Loader().load_service_model("ec2", "paginators-1")["pagination"]
    return pages


class Client:
    """Looks like ``boto3.client("ec2")`` to its user, without retries."""

    def __init__(self, region: StrictEC2, caller: str) -> None:
        self._region = region
        self._caller = caller

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        operation = _methods().get(name)
        if operation is None:
            raise AttributeError(f"'EC2' object has no attribute '{name}'")
        return functools.partial(self._call, operation)

    def _call(self, operation: str, /, **given: Any) -> Answer:
        shape = ec2_model().operation_model(operation).input_shape
        assert shape is not None, "every operation of EC2 takes parameters"
        report = ParamValidator().validate(given, shape)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        answer = self._region.call(operation, given, self._caller)
        return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200, "RetryAttempts": 0}}

    def can_paginate(self, name: str) -> bool:
        return _methods().get(name) in _paginators()

    def get_paginator(self, name: str) -> Paginator[Any]:
        """Botocore's own paginator over this client."""
        if not self.can_paginate(name):
            raise OperationNotPageableError(operation_name=name)
        operation = _methods()[name]
        return Paginator(
            getattr(self, name), _paginators()[operation], ec2_model().operation_model(operation)
        )
