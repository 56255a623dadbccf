"""How the commands over AWS find their cluster, and which exit code each of AWS's refusals gets.

Called by `reading` and `steering`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from podway.app.errors import NeedsOperator, Superseded, TryAgain, Unexpected
from podway.app.operator import NoSuchNode
from podway.cli.documents import RefusedError
from podway.config import PREFIX, BadSettings, Settings

if TYPE_CHECKING:
    from podway.app.operator import Operator

STACK = f"{PREFIX}STACK"


class _NotDoneError(click.ClickException):
    """AWS did not let the command through. The exit code, one of sysexits', says whether to try again."""

    def show(self, file: object = None) -> None:
        """One line on standard error."""
        del file
        click.echo(" ".join(self.message.split()), err=True)


class BusyError(_NotDoneError):
    """AWS is busy or out of reach just now. The same command may succeed later."""

    exit_code = 75


class DeniedError(_NotDoneError):
    """AWS refuses, and will refuse again."""

    exit_code = 77


_OPTIONS = (
    click.option(
        "--stack", metavar="NAME", envvar=STACK, help="Take the settings from this CloudFormation stack."
    ),
    click.option("--cluster", metavar="NAME", help="Name of the cluster (PODWAY_CLUSTER)."),
    click.option("--table", metavar="NAME", help="Its DynamoDB table (PODWAY_TABLE)."),
    click.option("--queue-url", metavar="URL", help="Its queue of hints (PODWAY_QUEUE_URL)."),
    click.option("--pod-cidrs", metavar="CIDR[,CIDR]", help="Its pod CIDRs (PODWAY_POD_CIDRS)."),
    click.option("--region", metavar="NAME", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="AWS region."),
    click.option("--profile", metavar="NAME", help="Profile of the AWS configuration files."),
    click.option(
        "--endpoint-url",
        metavar="URL",
        help="Where AWS's APIs are, if not at AWS (AWS_ENDPOINT_URL).",
    ),
)


def over_aws(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options above, and the operator's use cases as its first argument."""

    @functools.wraps(command)
    def connected(
        *,
        stack: str | None,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        **given: Any,
    ) -> int:
        settings = {f"{PREFIX}{name}".upper(): given.pop(name) for name in _SETTINGS}
        with _answers():
            operator = _connect(stack, settings, region=region, profile=profile, endpoint_url=endpoint_url)
            return command(operator, **given)

    for option in reversed(_OPTIONS):
        connected = option(connected)
    return connected


_SETTINGS = ("cluster", "table", "queue_url", "pod_cidrs")


def _connect(
    stack: str | None,
    given: Mapping[str, str | None],
    *,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
) -> Operator:
    import boto3  # noqa: PLC0415  (offline commands must not pay for it)

    from podway import bootstrap  # noqa: PLC0415  (as above)
    from podway.adapters.stacks import settings_of_stack  # noqa: PLC0415  (as above)

    session = boto3.Session(region_name=region, profile_name=profile)
    found: dict[str, str] = {}
    if stack:
        found = settings_of_stack(session.client("cloudformation", endpoint_url=endpoint_url), stack)
    found |= {name: value for name, value in os.environ.items() if name.startswith(PREFIX) and name != STACK}
    found |= {name: value for name, value in given.items() if value is not None}
    return bootstrap.operator(
        session,
        Settings.from_environment(found),
        endpoint_url=endpoint_url,
        warn=lambda why: click.echo(f"warning: {why}", err=True),
    )


@contextmanager
def _answers() -> Iterator[None]:
    """Turn every failure that an operator can do something about into one with an exit code."""
    try:
        yield
    except BadSettings as error:
        raise RefusedError(f"{error} (give --stack, the options, or the environment)") from None
    except NoSuchNode as error:
        raise RefusedError(str(error)) from None
    except (TryAgain, Superseded) as error:
        raise BusyError(str(error)) from error
    except (NeedsOperator, Unexpected) as error:
        raise DeniedError(str(error)) from error
    except click.ClickException:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("botocore."):
            raise
        raise _botocore_s(error) from error


def _botocore_s(error: Exception) -> click.ClickException:
    """The command's error for one of botocore's, raised before or instead of an answer of AWS's."""
    from botocore import exceptions as botocore  # noqa: PLC0415  (it is loaded: the error comes from there)

    if isinstance(error, (botocore.ConnectionError, botocore.HTTPClientError)):
        return BusyError(str(error))
    refusals = (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.ClientError)
    if isinstance(error, refusals):
        return DeniedError(str(error))
    return RefusedError(" ".join(str(error).split()))
