"""The operator's command line: ``podway``.

Exit codes of the offline commands: 0 answered or nothing to change, 1 there are steps (``plan``),
2 unusable input, 3 a hole or no feasible plan (``plan``), 70 an internal error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from podway.cli.offline import explain_command, plan_command, validate_command
from podway.cli.simulate import simulate_command

UNUSABLE = 2
INTERNAL = 70


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="podway")
def podway() -> None:
    """Overlay-free pod networking on EC2: aggregated VPC routes, planned and healed."""


podway.add_command(validate_command)
podway.add_command(plan_command)
podway.add_command(explain_command)
podway.add_command(simulate_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code; never a traceback."""
    try:
        code = podway.main(args=arguments, prog_name="podway", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        return UNUSABLE
    except click.Abort:
        click.echo("stopped", err=True)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001  (the last line of defence: exit code 70, not Python's 1)
        click.echo(f"internal error: {type(error).__name__}: {error}", err=True)
        return INTERNAL
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the ``podway`` script."""
    sys.exit(run())
