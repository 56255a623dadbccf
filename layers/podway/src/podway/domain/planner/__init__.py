"""The best routes that fit the budget, kept stable while nodes come and go.

Reconcile and the offline commands call :func:`plan`; same facts, same plan, whatever their order.
"""

from podway.domain.planner.explain import Path, Verdict, explain
from podway.domain.planner.plan import plan

__all__ = ["Path", "Verdict", "explain", "plan"]
