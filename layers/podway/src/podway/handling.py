"""What the handlers in ``functions`` share: read the event, react to it, log and count.

Metrics have the dimension Cluster, those of a route table also RouteTable. docs/operations.md names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from podway.adapters.correlation import correlate
from podway.app.errors import PodwayError, Throttled
from podway.app.outcome import Unfinished
from podway.wire.batches import signals_of
from podway.wire.events import Dropped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from podway.app.outcome import FailoverOutcome
    from podway.app.report import ReconcileOutcome
    from podway.domain.health.alarms import AlarmNames
    from podway.domain.signals import Hint, Signal

SERVICE, NAMESPACE = "podway", "Podway"
logger = Logger(service=SERVICE)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


def account_of(context: LambdaContext) -> str:
    """The account that the function runs in. Events of other accounts are dropped."""
    return context.invoked_function_arn.split(":")[4]


def caused_by(event_id: str) -> None:
    """Have every log line and every hint from here on name the event."""
    correlate(event_id)
    logger.append_keys(correlation_id=event_id)


def react_to(
    event: Mapping[str, object],
    context: LambdaContext,
    react: Callable[[Signal], tuple[FailoverOutcome, ...]],
    *,
    alarms: Callable[[], AlarmNames],
) -> dict[str, int]:
    """React to every signal of *event*, log and count. Raises the first error, so that Lambda retries.

    *alarms* says of which cluster the function is, and which alarms count.
    """
    names = alarms()
    metrics.add_dimension("Cluster", names.cluster)
    moved = dropped = waves = throttled = 0
    failed: PodwayError | None = None
    for signal in signals_of(event, account=account_of(context), alarms=names):
        if isinstance(signal, Dropped):
            dropped += 1
            logger.debug("dropped", reason=signal.reason, detail=signal.detail, event_id=signal.event_id)
            continue
        caused_by(signal.event_id)
        outcomes, failed = _outcomes(react, signal)
        for outcome in outcomes:
            moved += len(outcome.moved)
            waves = max(waves, outcome.waves)
            throttled += outcome.throttled
            _report(outcome, signal)
        if failed is not None:
            throttled += failed.throttled if isinstance(failed, Unfinished) else isinstance(failed, Throttled)
            break
    metrics.add_metric("EventsDropped", MetricUnit.Count, dropped)
    metrics.add_metric("RoutesMoved", MetricUnit.Count, moved)
    metrics.add_metric("Throttles", MetricUnit.Count, throttled)
    if failed is not None:
        raise failed
    return {"moved": moved, "waves": waves, "dropped": dropped}


def _outcomes(
    react: Callable[[Signal], tuple[FailoverOutcome, ...]], signal: Signal
) -> tuple[tuple[FailoverOutcome, ...], PodwayError | None]:
    """The outcomes of the signal and the error, if any. What was done is logged in either case."""
    try:
        return react(signal), None
    except Unfinished as error:
        return error.outcomes, error
    except PodwayError as error:
        return (), error


def _report(outcome: FailoverOutcome, signal: Signal) -> None:
    """Log one line about the node, and count how fast its routes moved."""
    logger.info(
        "moved",
        event_id=signal.event_id,
        answer=outcome.answer,
        moved=[f"{one.route.table} {one.route.destination} → {one.standby.node}" for one in outcome.moved],
        stayed={why.name: count for why, count in outcome.stayed.items() if count},
        waves=outcome.waves,
        calls=outcome.calls,
        failed=[f"{one.route.table} {one.route.destination}: {error}" for one, error in outcome.failed],
    )
    if outcome.calls:
        if not outcome.failed:
            took = datetime.now(UTC) - signal.at
            metrics.add_metric("FailoverSeconds", MetricUnit.Seconds, max(took.total_seconds(), 0.0))
        metrics.add_metric("FailoverWaves", MetricUnit.Count, outcome.waves)
        metrics.add_metric("FailoverCalls", MetricUnit.Count, outcome.calls)


def report_run(outcome: ReconcileOutcome, hints: tuple[Hint, ...], *, cluster: str, now: datetime) -> None:
    """Log one line about a run of reconcile, and count what it did and found."""
    logger.info(
        "another run is at work" if outcome.busy else "reconciled",
        applied=len(outcome.applied),
        failed=[f"{table}: {step}: {error}" for table, step, error in outcome.failed],
        steps_left=outcome.steps_left,
        routes=outcome.routes,
        budget=outcome.budget,
        joined=outcome.joined,
        drifted=[f"{table} {destination}" for table, destination in outcome.drifted],
        unhealthy=outcome.unhealthy,
        missing=outcome.missing,
        went_back=outcome.went_back,
        other_stacks=outcome.other_stacks,
        awaited=outcome.awaited,
        warnings=outcome.warnings,
        hints=len(hints),
        causes=sorted({one.cause or one.event_id for one in hints}),
    )
    age = max((now - one.at for one in hints), default=timedelta(0))
    metrics.add_metric("OldestHintSeconds", MetricUnit.Seconds, max(age.total_seconds(), 0.0))
    if outcome.busy:
        return
    counts = {
        "RouteCalls": len(outcome.applied) + len(outcome.failed),
        "RouteCallsFailed": len(outcome.failed),
        "Throttles": outcome.throttled,
        "StepsLeft": outcome.steps_left,
        "DriftFound": len(outcome.drifted) + len(outcome.checks),
        "DriftRepaired": outcome.repaired + len(outcome.checks),
        "Holes": outcome.holes,
        "FrozenSubnets": len(outcome.frozen),
        "UnhealthyNodes": len(outcome.unhealthy),
        "MembersMissing": len(outcome.missing),
        "MassMissing": int(outcome.is_mass_missing),
        "StoreWentBack": int(bool(outcome.went_back)),
        "OtherStacks": len(outcome.other_stacks),
        "MembersAwaited": len(outcome.awaited),
        "LimitsNear": sum(bool(one.warning) for one in outcome.pressures),
        "LimitsReached": sum(one.is_alarming for one in outcome.pressures),
        "Warnings": len(outcome.warnings),
    }
    for name, count in counts.items():
        metrics.add_metric(name, MetricUnit.Count, count)
    for table, routes in outcome.routes.items():
        _count_table_routes(table, routes, outcome.budget.get(table, 0), cluster=cluster)


def _count_table_routes(table: str, routes: int, budget: int, *, cluster: str) -> None:
    """Count a table's routes, in a metrics line of its own, since its dimensions differ."""
    counted = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    counted.add_dimension("Cluster", cluster)
    counted.add_dimension("RouteTable", table)
    counted.add_metric("Routes", MetricUnit.Count, routes)
    counted.add_metric("RouteBudget", MetricUnit.Count, budget)
    counted.flush_metrics()
