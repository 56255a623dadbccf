"""What the handlers of single events share: read the event, react to it, log and count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from podway.wire.batches import signals_of
from podway.wire.events import Dropped

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from podway.app.failover import Outcome
    from podway.domain.signals import Signal

logger = Logger()
metrics = Metrics()


def account_of(context: LambdaContext) -> str:
    """The account that the function runs in: events of others are none of ours."""
    return context.invoked_function_arn.split(":")[4]


def react_to(
    event: Mapping[str, object], context: LambdaContext, react: Callable[[Signal], tuple[Outcome, ...]]
) -> dict[str, int]:
    """React to every signal of *event*; raises what a retry of the same event can mend."""
    moved = dropped = waves = 0
    for signal in signals_of(event, account=account_of(context)):
        if isinstance(signal, Dropped):
            dropped += 1
            logger.debug("dropped", reason=signal.reason, detail=signal.detail, event_id=signal.event_id)
            continue
        for outcome in react(signal):
            moved += len(outcome.moved)
            waves = max(waves, outcome.waves)
            logger.info(
                "moved",
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
