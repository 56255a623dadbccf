"""Woken when a node stops, dies, alarms or is suspected: moves the routes that relay through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from podway import bootstrap
from podway.wire.batches import signals_of
from podway.wire.events import Dropped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
metrics = Metrics()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """React to every signal of the event; raises what a retry of the same event can mend."""
    moved = dropped = waves = 0
    for signal in signals_of(event, account=context.invoked_function_arn.split(":")[4]):
        if isinstance(signal, Dropped):
            dropped += 1
            logger.debug("dropped", reason=signal.reason, detail=signal.detail, event_id=signal.event_id)
            continue
        for outcome in bootstrap.failover().react(signal):
            moved += len(outcome.moved)
            waves = max(waves, outcome.waves)
            logger.info(
                "failover",
                event_id=signal.event_id,
                answer=outcome.answer,
                moved=[
                    f"{one.route.table} {one.route.destination} → {one.standby.node}" for one in outcome.moved
                ],
                stayed={why.name: count for why, count in outcome.stayed.items() if count},
                waves=outcome.waves,
            )
    metrics.add_metric("EventsDropped", MetricUnit.Count, dropped)
    metrics.add_metric("RoutesMoved", MetricUnit.Count, moved)
    return {"moved": moved, "waves": waves, "dropped": dropped}
