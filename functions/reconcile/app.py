"""Woken by the queue of hints: makes routes, blocks and snapshots what they should be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.metrics import MetricUnit
from podway import bootstrap
from podway.handling import account_of, logger, metrics
from podway.wire.batches import hints
from podway.wire.events import Dropped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, list[Any]]:
    """One run for all hints of the batch; what fails is left to the next tick."""
    received = hints(event, account=account_of(context))
    dropped = sum(isinstance(one.says, Dropped) for one in received)
    metrics.add_metric("EventsDropped", MetricUnit.Count, dropped)
    if dropped == len(received):
        return {"batchItemFailures": []}
    left = timedelta(milliseconds=context.get_remaining_time_in_millis())
    deadline = datetime.now(UTC) + left - bootstrap.STOP_BEFORE
    outcome = bootstrap.reconcile().run(context.aws_request_id, deadline=deadline)
    metrics.add_metric("RouteCalls", MetricUnit.Count, len(outcome.applied) + len(outcome.failed))
    metrics.add_metric("RouteCallsFailed", MetricUnit.Count, len(outcome.failed))
    metrics.add_metric("Holes", MetricUnit.Count, outcome.holes)
    logger.info(
        "reconciled" if not outcome.busy else "another run is at work",
        applied=len(outcome.applied),
        failed=[f"{table}: {step}: {error}" for table, step, error in outcome.failed],
        steps_left=outcome.steps_left,
        routes=outcome.routes,
        budget=outcome.budget,
        joined=outcome.joined,
        warnings=outcome.warnings,
        hints=len(received) - dropped,
    )
    return {"batchItemFailures": []}
