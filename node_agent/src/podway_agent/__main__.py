"""``podway-agent``: the command line of the node agent. systemd, the DaemonSet and operators run it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from podway_agent.settings import BadSettings, Settings, read_settings

log = logging.getLogger(__name__)

BAD_SETTINGS = 64
"""Exit status (EX_USAGE of sysexits(3)): trying again will not help."""


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; its exit status."""
    parser = argparse.ArgumentParser(prog="podway-agent", description="The agent of a Podway node.")
    parser.add_argument("--settings", type=Path, help="settings file (TOML, or JSON if it ends so)")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("run", help="keep this node's kernel as the cluster's routes need it")
    verbs.add_parser("status", help="print what the agent last found and did, as JSON")
    checking = verbs.add_parser(
        "check", help="explain this node: what is missing, who else meddles, what to do"
    )
    checking.add_argument("--json", action="store_true", help="print findings as JSON")
    verbs.add_parser("uninstall", help="remove from this node exactly what the agent put there")
    chosen = parser.parse_args(arguments)
    try:
        settings = read_settings(os.environ, chosen.settings)
    except BadSettings as error:
        print(f"podway-agent: {error}", file=sys.stderr)  # noqa: T201  (before there is a log)
        return BAD_SETTINGS
    if chosen.verb == "check":
        return _check(settings, as_json=chosen.json)
    return {"run": _run, "status": _status, "uninstall": _uninstall}[chosen.verb](settings)


def _run(settings: Settings) -> int:
    from podway_agent.agent import run  # noqa: PLC0415  (status must not pay for what run needs)

    return run(settings)


def _status(settings: Settings) -> int:
    from podway_agent.host.disk import STATUS, StateDirectory  # noqa: PLC0415

    found = StateDirectory(settings.state_dir).read(STATUS)
    if found is None:
        print(f"no status in {settings.state_dir}: the agent has not run yet", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps(found, indent=2, sort_keys=True))  # noqa: T201
    return 0


def _check(settings: Settings, *, as_json: bool) -> int:
    from podway_agent.doctor.look import check  # noqa: PLC0415  (the others must not pay for it)

    return check(settings, as_json=as_json)


def _uninstall(settings: Settings) -> int:
    from podway_agent.uninstall import uninstall  # noqa: PLC0415

    return uninstall(settings)


if __name__ == "__main__":
    sys.exit(main())
