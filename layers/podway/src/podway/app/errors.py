"""What can go wrong, named by what the caller should do."""


class PodwayError(Exception):
    """Any failure that we know how to answer."""


class TryAgain(PodwayError):
    """Busy or unreachable just now (throttled, 5xx, no answer): the same call may succeed later.

    The call may have taken effect although no answer came.
    """


class Throttled(TryAgain):
    """AWS has had too many such calls from this account just now."""


class QuotaReached(PodwayError):
    """EC2 has no room for another route in this table."""


class NeedsOperator(PodwayError):
    """Refused in a way that only a person can change: permissions, parameters."""


class RouteIsThere(PodwayError):
    """A route with this destination exists already; somebody was faster."""


class RouteIsGone(PodwayError):
    """There is no such route to replace; somebody was faster."""


class TargetIsGone(PodwayError):
    """The interface that should become the next hop does not exist."""


class TableIsGone(PodwayError):
    """The route table does not exist any more."""


class Superseded(PodwayError):
    """Another writer holds the lease, or wrote first; what was read is stale."""
