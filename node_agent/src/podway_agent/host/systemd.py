"""What systemd is told of the agent (sd_notify(3)): that it is ready, lives, and stops."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

SIGNS_PER_PERIOD = 3
"""One that is late, on a machine under load, must not end the agent."""


def notify(state: str) -> None:
    """Tell systemd, if it started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        try:
            messenger.sendto(state.encode(), address.replace("@", "\0", 1))
        except OSError as error:
            log.warning("systemd not told", extra={"reason": str(error)})


def watched_seconds() -> float:
    """How long we may be silent before systemd starts us anew; 0: it does not watch us."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0


def give_signs_of_life(trouble: Callable[[], str]) -> threading.Event:
    """Tell systemd that we live for as long as *trouble* has nothing to say, if it wants to know.

    Setting the event ends it.
    """
    enough = threading.Event()
    if period := watched_seconds():
        work = (trouble, period, enough)
        threading.Thread(target=_sign, args=work, name="signs of life", daemon=True).start()
    return enough


def _sign(trouble: Callable[[], str], period: float, enough: threading.Event) -> None:
    before = ""
    while not enough.wait(period / SIGNS_PER_PERIOD):
        if not (reason := trouble()):
            notify("WATCHDOG=1")
        elif not before:
            log.error("not well", extra={"reason": reason})
        before = reason
