"""Tells systemd (sd_notify(3)) that the agent is ready, lives, and stops. Agent calls it."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

SIGNS_PER_PERIOD = 3
"""One sign that is late, on a machine under load, must not end the agent."""


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
    """How long the agent may be silent before systemd starts it anew; 0: systemd does not watch it."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0.0, int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6)
    except ValueError:
        return 0.0


def give_signs_of_life(fault: Callable[[], str]) -> threading.Event:
    """Tell systemd, if it watches, that the agent lives, for as long as *fault* returns nothing.

    Setting the event ends it.
    """
    enough = threading.Event()
    if period := watched_seconds():
        work = (fault, period, enough)
        threading.Thread(target=_sign, args=work, name="signs of life", daemon=True).start()
    return enough


def _sign(fault: Callable[[], str], period: float, enough: threading.Event) -> None:
    before = ""
    while not enough.wait(period / SIGNS_PER_PERIOD):
        if not (reason := fault()):
            notify("WATCHDOG=1")
        elif not before:
            log.error("not well", extra={"reason": reason})
        before = reason
