"""How large a lab may be: 3 zones of 20 nodes."""

from __future__ import annotations

import os
import resource

from tests.bench.page import Page
from tests.lab.unrest import ask_apart

TITLE = "A lab of sixty nodes"
ALLOWED = 120.0


def measure(page: Page) -> None:
    """One lab, brought up and torn down."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = ask_apart("tests.lab.crowd", [], 900)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    page.say(
        f"3 zones of 20 nodes: a real agent, a metadata service and a pod on each. {os.cpu_count()} cores;"
        f" load average of the last five minutes {os.getloadavg()[1]:.0f}, others' work included."
    )
    page.table("phase", "seconds since the start")
    for phase in list(found)[:3]:
        page.row(phase, found[phase])
    page.table("what", "measured", "allowed")
    page.row("pairs of pods that did not reach each other", found["missing"], 0)
    page.row("pairs of pods", found["pairs"], "")
    page.row("breaches of I1 to I4", found["breaches"], 0)
    page.row("seconds until all pairs were tried", found["a packet from each pod to each other"], ALLOWED)
    page.row("CPU seconds of everything, on two idle cores at least half as long", cpu, "")
