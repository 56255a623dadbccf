"""From the routes that are there to the routes that should be, one API call at a time.

Called by the planner for the steps of a plan, and by reconcile before its first call, to check them.
"""

from podway.domain.transition.order import transition
from podway.domain.transition.verify import Breach, verify_transition

__all__ = ["Breach", "transition", "verify_transition"]
