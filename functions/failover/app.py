"""The failover function: Lambda calls it when a node stops, dies, alarms or is suspected.

It moves the routes that relay through the node. Rules and the stream's filter are in template.yaml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import podway.loading
from podway import bootstrap
from podway.handling import logger, metrics, react_to

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

podway.loading.done()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Do what the event asks for. Returns counts of routes moved, waves of calls, and events dropped."""
    return react_to(
        event,
        context,
        lambda signal: bootstrap.failover().react(signal),
        alarms=bootstrap.alarm_names,
    )
