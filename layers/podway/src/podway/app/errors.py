"""Errors named by what the caller should do. Adapters raise them, use cases and the command handle them."""


class PodwayError(Exception):
    """Any failure that we know how to answer."""


class TryAgain(PodwayError):
    """AWS is busy or unreachable just now (throttled, 5xx, no answer): the same call may succeed later.

    The call may have taken effect even though no answer came.
    """


class Throttled(TryAgain):
    """AWS refused the call because the account made too many of its kind."""


class QuotaReached(PodwayError):
    """EC2 has no room for another route in this table."""


class NeedsOperator(PodwayError):
    """Refused in a way that only a person can change: permissions, parameters."""


class Unexpected(PodwayError):
    """Refused with a code that we do not know: it ends its own step and is reported; all else goes on."""


class RouteIsThere(PodwayError):
    """A route with this destination exists already. Somebody else was faster."""


class RouteIsGone(PodwayError):
    """There is no such route to replace. Somebody else was faster."""


class TargetIsGone(PodwayError):
    """The interface that should become the next hop does not exist."""


class InstanceIsGone(PodwayError):
    """EC2 knows no instance of some id that was asked for; the text names it."""


class TableIsGone(PodwayError):
    """The route table does not exist any more."""


class SubnetIsGone(PodwayError):
    """EC2 knows no subnet of some id that was asked for; the text names it."""


class Superseded(PodwayError):
    """Another writer holds the lease, or wrote first. What the caller has read is stale."""
