"""The reconcile function: Lambda calls it with hints from the queue.

It makes routes, blocks and snapshots what they should be.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import podway.loading
from aws_lambda_powertools.metrics import MetricUnit
from podway import bootstrap
from podway.domain.signals import Hint
from podway.handling import account_of, caused_by, logger, metrics, report_run
from podway.wire.batches import hints

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

podway.loading.done()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, list[Any]]:
    """Make one run for all hints of the batch. What fails is left to the next tick."""
    received = [one.says for one in hints(event, account=account_of(context))]
    asked = tuple(one for one in received if isinstance(one, Hint))
    cluster = bootstrap.settings().cluster
    metrics.add_dimension("Cluster", cluster)
    metrics.add_metric("EventsDropped", MetricUnit.Count, len(received) - len(asked))
    if not asked:
        return {"batchItemFailures": []}
    caused_by(next((one.cause for one in asked if one.cause), asked[0].event_id))
    now = datetime.now(UTC)
    left = timedelta(milliseconds=context.get_remaining_time_in_millis())
    outcome = bootstrap.reconcile().run(context.aws_request_id, deadline=now + left - bootstrap.STOP_BEFORE)
    report_run(outcome, asked, cluster=cluster, now=now)
    return {"batchItemFailures": []}
