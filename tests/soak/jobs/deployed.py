"""Every scenario with the stack deployed: `sam deploy` into the lab, Lambda's own runtime, a rough bus."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from podway.domain.model import counted

from tests.soak.job import Case, Job

SCENARIOS = sorted(Path("tests/scenarios").glob("*.scenario"))
PATIENCE = 900
"""Seconds that a scenario may take."""


def one(seed: int) -> Case:
    """The scenario of that number, played by the command in a process of its own."""
    scenario = SCENARIOS[seed]
    command = [sys.executable, "-m", "podway_lab", "run", "--deployed", str(scenario)]
    began = monotonic()
    played = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    said = played.stdout
    writes = re.search(r"(\d+) writes? to route tables judged", said)
    failovers = re.findall(r" (\d+) +\d+ ms +(\d+) +(\d+) ", said)
    return {
        "scenario": scenario.stem,
        "seconds": round(monotonic() - began),
        "expectations": said.count("✓"),
        "left_out": said.count("left out"),
        "writes": int(writes[1]) if writes else 0,
        "failovers": [
            f"{counted(int(routes), 'route')}, {counted(int(calls), 'call')}, {counted(int(waves), 'wave')}"
            for routes, calls, waves in failovers
        ],
        "broken": "" if played.returncode == 0 else (said + played.stderr)[-3000:],
    }


def report(cases: Sequence[Case]) -> list[str]:
    """A line for each scenario."""
    lines = [
        "| scenario | came true | left out | writes judged | failovers measured | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for case in cases:
        failovers = case["failovers"]
        told = "; ".join(failovers) if isinstance(failovers, list) else ""
        cells = (case[name] for name in ("scenario", "expectations", "left_out", "writes"))
        lines.append(f"| {' | '.join(map(str, cells))} | {told} | {case['seconds']} |")
    played = {case["scenario"] for case in cases}
    missing = [one.stem for one in SCENARIOS if one.stem not in played]
    if missing:
        lines += ["", f"Not played yet: {', '.join(missing)}."]
    return [
        "Built and deployed by the SAM CLI, under Lambda's own runtime; events come through the deployed",
        "rules, queues and streams, twice, late and out of order (docs/lab.md).",
        "",
        *lines,
    ]


JOB = Job(
    name="deployed",
    about="Every scenario of tests/scenarios with the stack deployed",
    cases=len(SCENARIOS),
    one=one,
    report=report,
)
