"""What functions log is kept, each line with the invocation whose doing it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCENARIO = """
cluster demo  pods 100.64.0.0/16  blocks /26
quota 3  reserve 0
subnet a 10.0.0.0/20   zone us-west-2a  nodes a1
subnet b 10.0.16.0/20  zone us-west-2b  nodes b1 b2 b3
start
within 90s all nodes are ready
terminate the forwarder of b
"""


def test_every_route_call_is_logged_with_the_event_that_caused_it(tmp_path: Path) -> None:
    scenario, logs = tmp_path / "a.scenario", tmp_path / "logs"
    scenario.write_text(SCENARIO)

    # a process of its own: a logger keeps the stream that it finds when it is made
    command = [sys.executable, "-m", "podway_lab", "run", "--no-packets", "--logs", str(logs), str(scenario)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert str(logs) in done.stdout.replace("\n", "")
    lines = [json.loads(line) for line in (logs / "functions.log").read_text().splitlines()]
    woken: dict[str, Any] = {}
    calls = []
    for line in lines:
        if "attempt" in line:
            woken = line
        elif line.get("message") == "route call" and woken["function"] == "FailoverFunction":
            calls.append((line["correlation_id"], woken["event_id"], line["step"]))
    assert calls, "replacements are logged by the threads that make them"
    assert all(cause == event for cause, event, _ in calls)
    assert all(step.startswith("moved ") for *_, step in calls)
