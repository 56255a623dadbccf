"""Runs the node's own programs (nft, iptables): fixed arguments, no shell, never for ever.

The kernel's files call it, and doctor.
"""

from __future__ import annotations

import os
import subprocess
from collections import deque

ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"
"""Looked through after PATH, which need not hold the administrator's programs."""
_LONGEST_SECONDS = 15
_NOT_FOUND = 127

STARTED: deque[int] = deque(maxlen=64)
"""Process numbers of the programs that we started last. The kernel marks their changes with these."""


def run_program(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run *program* with *text* as its input. One that is missing, or does not end, counts as failed."""
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:{ADMIN_PATH}"}
    pipe = subprocess.PIPE
    command = [program, *arguments]
    try:
        with subprocess.Popen(  # noqa: S603  (callers name fixed programs; no shell)
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
        ) as process:
            STARTED.append(process.pid)
            try:
                out, complaint = process.communicate(text, timeout=_LONGEST_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, _NOT_FOUND, "", str(error))
    return subprocess.CompletedProcess(command, process.returncode, out, complaint)
