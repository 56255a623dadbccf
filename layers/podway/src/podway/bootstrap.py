"""The only place that builds clients and connects use cases with adapters.

Called by the handlers in ``functions`` and by the command's `connection`. Everything is built on first use
and kept for the life of the process: handlers import with an empty environment, and a warm function pays
nothing.

While a failover starts cold, packets are lost. So it loads little:
- what failover does not need is imported where it is used;
- clients come from botocore itself (boto3 would load its S3 transfers);
- clients of services that are seldom called are built with their first call.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from podway.adapters.ec2 import Ec2Cloud
from podway.adapters.fast_store import FastStore
from podway.adapters.machine import CALLS_AT_ONCE, SystemClock, Threads
from podway.adapters.queue import HintQueue
from podway.adapters.quotas import RouteQuota
from podway.app.failover import Failover
from podway.app.ports import LONGEST_LEASE
from podway.config import Settings
from podway.domain.health.alarms import AlarmNames
from podway.loading import undisturbed

if TYPE_CHECKING:
    import boto3

    from podway.adapters.autoscaling import AutoScalingHooks
    from podway.adapters.dynamodb import DynamoStore
    from podway.app.lifecycle import Lifecycle
    from podway.app.operator import Operator
    from podway.app.reconcile import Reconcile
    from podway.domain.run.seen import Rules

RECONCILE_TIMEOUT = LONGEST_LEASE - timedelta(seconds=5)
"""The function's timeout in template.yaml."""
STOP_BEFORE = timedelta(seconds=15)
"""How long before its deadline a run stops writing routes."""

_CALLS = Config(
    retries={"mode": "standard", "max_attempts": 4},
    connect_timeout=2,
    read_timeout=10,
    max_pool_connections=CALLS_AT_ONCE,
)


@cache
def settings() -> Settings:
    """The settings of this process. Raises BadSettings."""
    return Settings.from_environment(os.environ)


@cache
def alarm_names() -> AlarmNames:
    """Which alarms count as evidence, by their names."""
    return AlarmNames(settings().cluster, settings().alarm_prefix)


_BUILDING = threading.RLock()
"""A botocore session must not build clients on several threads at once."""


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _client(service: str) -> Any:
    with _BUILDING:
        return _session().create_client(service, config=_CALLS)


class _OnFirstCall:
    """A client that is built with its first call."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        return getattr(_client(self._service), name)


def _later(service: str) -> Any:
    return _OnFirstCall(service)


@cache
def _clock() -> SystemClock:
    return SystemClock()


@cache
def _cloud() -> Ec2Cloud:
    chosen = settings()
    return Ec2Cloud(
        _client("ec2"),
        cluster=chosen.cluster,
        quota=RouteQuota(_later("service-quotas"), fixed=chosen.route_quota),
        vpc=chosen.vpc,
        node_tag=chosen.node_tag,
        reserve=chosen.route_reserve,
    )


@cache
def _fast_store() -> FastStore:
    return FastStore(_client("dynamodb"), table=settings().table)


@cache
def _store() -> DynamoStore:
    from podway.adapters.dynamodb import DynamoStore  # noqa: PLC0415  (failover starts without)

    return DynamoStore(_client("dynamodb"), table=settings().table, cluster=settings().cluster)


@cache
def _hints() -> HintQueue:
    return HintQueue(_later("sqs"), url=settings().queue_url, clock=_clock())


@cache
def _hooks() -> AutoScalingHooks:
    from podway.adapters.autoscaling import AutoScalingHooks  # noqa: PLC0415  (failover starts without)

    return AutoScalingHooks(_later("autoscaling"))


@cache
def failover() -> Failover:
    """The failover use case over AWS."""
    with undisturbed():
        return Failover(
            cloud=_cloud(),
            store=_fast_store(),
            hints=_hints(),
            clock=_clock(),
            parallel=Threads(),
            hold_down=timedelta(seconds=settings().hold_down_seconds),
        )


@cache
def lifecycle() -> Lifecycle:
    """The lifecycle use case over AWS."""
    from podway.app.lifecycle import Lifecycle  # noqa: PLC0415  (failover starts without)

    return Lifecycle(
        cloud=_cloud(), store=_store(), failover=failover(), hints=_hints(), hooks=_hooks(), clock=_clock()
    )


@cache
def reconcile() -> Reconcile:
    """The reconcile use case over AWS."""
    from podway.adapters.cloudwatch import NodeAlarms  # noqa: PLC0415  (failover starts without)
    from podway.app.reconcile import Reconcile  # noqa: PLC0415  (as above)

    chosen = settings()
    return Reconcile(
        cloud=_cloud(),
        store=_store(),
        hints=_hints(),
        clock=_clock(),
        alarms=NodeAlarms(_later("cloudwatch"), names=alarm_names()),
        hooks=_hooks(),
        rules=_rules(chosen),
    )


def _rules(chosen: Settings) -> Rules:
    """The settings that a run of reconcile decides by."""
    from podway.domain.run.seen import Rules  # noqa: PLC0415  (failover starts without)

    return Rules(
        cluster=chosen.cluster,
        pod_cidrs=chosen.pod_cidrs,
        block_length=chosen.block_length,
        quarantine=timedelta(seconds=chosen.quarantine_seconds),
        hold_down=timedelta(seconds=chosen.hold_down_seconds),
        lease=LONGEST_LEASE,
        stack=chosen.stack_id,
    )


def operator(
    session: boto3.Session,
    chosen: Settings,
    *,
    endpoint_url: str | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> Operator:
    """The operator's use cases over AWS, or over what answers at *endpoint_url*. Built anew by each call.

    The time is the store's. *warn* is told if it says none.
    """
    from podway.adapters.bus import EventBus  # noqa: PLC0415  (a function's start must not pay for the command)
    from podway.adapters.cloudwatch import NodeAlarms  # noqa: PLC0415  (a function's start must not pay for the command)
    from podway.adapters.dynamodb import DynamoStore  # noqa: PLC0415  (as above)
    from podway.adapters.identities import NodeIdentities  # noqa: PLC0415  (as above)
    from podway.adapters.ledger import DynamoLedger  # noqa: PLC0415  (as above)
    from podway.adapters.store_clock import StoreClock  # noqa: PLC0415  (as above)
    from podway.app.operator import Operator  # noqa: PLC0415  (as above)

    def client(service: str) -> Any:
        factory: Any = session.client  # typed per service name only
        return factory(service, config=_CALLS, endpoint_url=endpoint_url)

    dynamodb = client("dynamodb")
    ledger = DynamoLedger(dynamodb, table=chosen.table)
    clock = StoreClock(dynamodb, ask=ledger.lease, warn=warn)
    cloud = Ec2Cloud(
        client("ec2"),
        cluster=chosen.cluster,
        quota=RouteQuota(client("service-quotas"), fixed=chosen.route_quota),
        vpc=chosen.vpc,
        node_tag=chosen.node_tag,
        reserve=chosen.route_reserve,
    )
    store = DynamoStore(dynamodb, table=chosen.table, cluster=chosen.cluster)
    hints = HintQueue(client("sqs"), url=chosen.queue_url, clock=clock)
    failing_over = Failover(
        cloud=cloud,
        store=store,
        hints=hints,
        clock=clock,
        parallel=Threads(),
        hold_down=timedelta(seconds=chosen.hold_down_seconds),
    )
    return Operator(
        rules=_rules(chosen),
        cloud=cloud,
        store=store,
        ledger=ledger,
        bus=EventBus(client("events")),
        hints=hints,
        clock=clock,
        alarms=NodeAlarms(client("cloudwatch"), names=AlarmNames(chosen.cluster)),
        identities=NodeIdentities(
            client("ec2"), client("iam"), cluster=chosen.cluster, node_tag=chosen.node_tag
        ),
        failover=failing_over,
        pause=time.sleep,
    )


def forget() -> None:
    """Build everything anew on next use. Tests and the lab call it when they have changed the environment."""
    for built in [one for one in globals().values() if hasattr(one, "cache_clear")]:
        built.cache_clear()
