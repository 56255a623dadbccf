"""``make soak``: what takes too long for ``make test``, seeded and resumable, with a report in ``docs/soak``.

python -m tests.soak [--fresh] [--cases N] [NAME ...]     (all jobs by default; a job is a module of
tests/soak/jobs with a ``JOB``; ``--fresh`` forgets what earlier runs found; with ``--cases`` a few are
played and no report is written)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from tests.provenance import DOCS, ROOT, modules_in
from tests.soak.job import Job
from tests.soak.keep import broken, play, report


def main(arguments: Sequence[str]) -> int:
    """0 if everything held, 1 if some case is broken, 2 if there is no such job."""
    parser = argparse.ArgumentParser(prog="soak", description="Long seeded tests.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--cases", type=int)
    asked = parser.parse_args(arguments)
    known = modules_in("soak/jobs")
    if unknown := sorted(set(asked.names) - set(known)):
        sys.stderr.write(f"soak: no job {', '.join(unknown)}; there are {', '.join(known)}\n")
        return 2
    worst = 0
    for name in asked.names or known:
        job: Job = import_module(f"tests.soak.jobs.{name}").JOB
        cases = play(job, ROOT / ".soak", cases=asked.cases, fresh=asked.fresh)
        page = report(job, cases)
        sys.stdout.write(page)
        if asked.cases is None:
            (DOCS / "soak").mkdir(exist_ok=True)
            (DOCS / "soak" / f"{name}.md").write_text(page, encoding="utf-8")
        worst = max(worst, 1 if broken(cases) or job.holds(cases) else 0)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
