"""The operator's command line. The script ``podway`` calls `main`.

Exit codes of the offline commands: 0 answered or nothing to change, 1 there are steps (``plan``),
2 unusable input, 3 a hole or no feasible plan (``plan``), 70 an internal error. The commands over
AWS answer with 0, 2 and 70 in the same sense, with 1 when ``check`` has doubts, with 75 (EX_TEMPFAIL)
when AWS is busy or out of reach, and with 77 (EX_NOPERM) when it refuses.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from podway.cli.offline import explain_command, plan_command, validate_command
from podway.cli.reading import (
    check_command,
    history_command,
    nodes_command,
    routes_command,
    status_command,
)
from podway.cli.simulate import simulate_command
from podway.cli.steering import (
    adopt_command,
    drain_command,
    forget_command,
    release_command,
    restore_command,
    undrain_command,
)

UNUSABLE = 2
"""Exit code for unusable input."""
INTERNAL = 70
"""Exit code for an internal error."""
STOPPED = 130
"""Exit code that a shell gives a command that SIGINT ended."""
NOBODY_READS = 141
"""Exit code that a shell gives a command that SIGPIPE ended."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="podway")
@click.option("--debug", is_flag=True, help="Print the traceback of an internal error.")
@click.pass_context
def podway(context: click.Context, debug: bool) -> None:
    """Overlay-free pod networking on EC2: aggregated VPC routes, planned and healed."""
    context.obj = {"debug": debug}


for _command in (
    validate_command,
    plan_command,
    explain_command,
    simulate_command,
    status_command,
    check_command,
    nodes_command,
    routes_command,
    history_command,
    drain_command,
    undrain_command,
    adopt_command,
    forget_command,
    restore_command,
    release_command,
):
    podway.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. A traceback is printed only with --debug."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = podway.main(args=given, prog_name="podway", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code if error.exit_code != 1 else UNUSABLE
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return STOPPED
    except (BrokenPipeError, SystemExit):  # outside its standalone mode click exits for a closed pipe alone
        _discard_output()
        return NOBODY_READS
    except Exception as error:  # noqa: BLE001  (the last line of defence: exit code 70, not Python's 1)
        if "--debug" in given:
            traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        click.echo(f"internal error: {type(error).__name__}: {first} (podway --debug tells more)", err=True)
        return INTERNAL
    return code if isinstance(code, int) else 0


def _discard_output() -> None:
    """Lead standard output nowhere: Python flushes it once more when it ends, and the pipe is closed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def main() -> None:
    """Entry point of the ``podway`` script."""
    sys.exit(run())
