"""Play a job case by case, each result written down at once, so that a run that was cut goes on later."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from time import monotonic

from tests.provenance import CHANGED, commit, provenance
from tests.soak.job import Case, Job, is_broken

MOST_SHOWN = 20
"""Broken cases that the report shows."""

SAY_EVERY = 10.0
"""Seconds between signs of life."""


def kept(notes: Path) -> dict[int, Case]:
    """What earlier runs found, by seed; a last line that was cut off is none."""
    found: dict[int, Case] = {}
    if notes.exists():
        for line in notes.read_text(encoding="utf-8").splitlines():
            try:
                case = json.loads(line)
            except ValueError:
                continue
            found[case["seed"]] = case
    return found


def play(job: Job, folder: Path, *, cases: int | None = None, fresh: bool = False) -> list[Case]:
    """All cases of the job, those that are missing played now."""
    count = job.cases if cases is None else cases
    notes = folder / f"{job.name}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        notes.unlink(missing_ok=True)
    found = kept(notes)
    at = commit()
    missing = [seed for seed in range(count) if seed not in found or _outdated(found[seed], at)]
    said = monotonic()
    _say(f"{job.name}: {count - len(missing)} of {count} cases are there already\n" if found else "")
    with notes.open("a", encoding="utf-8") as file:
        if found:
            file.write("\n")  # after a line that was cut off
        for number, seed in enumerate(missing, start=1):
            case = {**_one(job, seed), "seed": seed, "commit": at}
            file.write(json.dumps(case) + "\n")
            file.flush()
            found[seed] = case
            if monotonic() - said > SAY_EVERY or number == len(missing):
                said = monotonic()
                _say(f"{job.name}: {count - len(missing) + number} of {count}\n")
    return [found[seed] for seed in range(count)]


def _outdated(case: Case, at: str) -> bool:
    """Whether the case was broken, and the code has changed since: it may be mended."""
    return is_broken(case) and (case.get("commit") != at or at.endswith(CHANGED))


def _one(job: Job, seed: int) -> Case:
    try:
        return job.one(seed)
    except Exception as error:  # noqa: BLE001  (whatever one case throws, the others are still worth playing)
        return {"broken": f"{type(error).__name__}: {error}"}


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def broken(cases: Sequence[Case]) -> list[Case]:
    """The cases in which something did not hold."""
    return [case for case in cases if is_broken(case)]


def report(job: Job, cases: Sequence[Case]) -> str:
    """The page about the job: what was played, what did not hold, and what the job says itself."""
    bad = broken(cases)
    seeds = [str(case["seed"]) for case in cases]
    played = f"{len(cases):,} cases, seeds {seeds[0]} to {seeds[-1]}, played at {_commits(cases)}"
    lines = [f"# {job.about}", ""]
    lines += [f"Written by `make soak ONLY={job.name}` {provenance()}.", ""]
    lines += [f"{played}; **{len(bad)} broken**.", ""]
    wrong = [f"- seed {case['seed']}: {case['broken']}" for case in bad[:MOST_SHOWN]]
    wrong += [f"- all together: {together}"] if (together := job.holds(cases)) else []
    lines += [*wrong, ""] if wrong else []
    told = [case for case in cases if not is_broken(case)]
    lines += job.report(told) if told else ["Nothing else to tell."]
    return "\n".join(lines) + "\n"


def _commits(cases: Sequence[Case]) -> str:
    runs = groupby(str(case.get("commit")) for case in cases)
    return ", ".join(sorted({name for name, _ in runs}))
