"""Runs the node's own programs (nft, iptables): fixed arguments, no shell, never for ever."""

from __future__ import annotations

import os
import subprocess

ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin"
"""Looked through after PATH, which need not hold the administrator's programs."""
SECONDS = 15
NOT_FOUND = 127


def run_program(program: str, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run *program* with *text* as its input. One that is not there, or does not end, counts as failed."""
    environment = {**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:{ADMIN_PATH}"}
    try:
        return subprocess.run(  # noqa: S603  (callers name fixed programs; no shell)
            [program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess([program, *arguments], NOT_FOUND, "", str(error))
