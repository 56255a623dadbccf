"""The commands that change a running cluster: ``drain``, ``undrain``, ``adopt``, ``forget``, ``release`` ….

Registered by `main`.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from podway.cli.connection import BusyError, DeniedError, over_aws
from podway.cli.documents import RefusedError
from podway.domain.addressing import Prefix
from podway.domain.members.adoption import NotAdopted
from podway.domain.model import counted

if TYPE_CHECKING:
    from podway.app.operator import Operator, Released

_PATIENCE = click.option(
    "--patience",
    type=click.IntRange(min=0),
    default=130,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a run of reconcile to end.",
)


@click.command("drain")
@over_aws
@click.argument("node")
@click.option("--here", is_flag=True, help="Do it in this process, without the lifecycle function.")
@click.option(
    "--wait",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until nothing is relayed through it; 0: do not wait.",
)
def drain_command(operator: Operator, node: str, here: bool, wait: int) -> int:
    """Move what NODE relays for others away from it, before maintenance.

    Its own pods stay reachable. The node relays nothing again until "podway undrain".
    """
    operator.drain(node, here=here)
    end = time.monotonic() + wait
    while wait and not operator.is_drained(node):
        if time.monotonic() >= end:
            raise BusyError(f"{node} was asked to hand over, and still relays after {wait} s")
        time.sleep(min(1.0, wait / 10))
    click.echo(f"{node} relays nothing" if wait else f"{node} was asked to hand over")
    return 0


@click.command("undrain")
@over_aws
@click.argument("node")
@click.option(
    "--all", "every", is_flag=True, help="Withdraw every planned hand-over: rebalance, maintenance, …"
)
def undrain_command(operator: Operator, node: str, every: bool) -> int:
    """Let NODE relay again after a drain."""
    withdrawn = operator.undrain(node, every=every)
    click.echo(f"{node}: withdrawn: {', '.join(withdrawn)}" if withdrawn else f"{node} was not drained")
    return 0


@click.command("adopt")
@over_aws
@click.argument("route_table")
@click.argument("destination")
@_PATIENCE
def adopt_command(operator: Operator, route_table: str, destination: str, patience: int) -> int:
    """Make the route for DESTINATION in ROUTE_TABLE ours.

    It must be inside the pod CIDR and lead to a member's network interface, or be a black hole whose
    interface EC2 says does not exist. From then on it is planned, replaced and removed like any other
    managed route: the next run replaces or removes a black hole.
    """
    try:
        prefix = Prefix.parse(destination)
    except ValueError as error:
        raise RefusedError(f"DESTINATION: {error}") from None
    decided = operator.adopt(route_table, prefix, patience=timedelta(seconds=patience))
    if isinstance(decided, NotAdopted):
        raise RefusedError(f"not adopted: {decided.reason}")
    to = f"{decided.target}, which is gone," if decided.is_dead else decided.node
    click.echo(f"{prefix} in {route_table} via {to} is ours from now on")
    return 0


@click.command("forget")
@over_aws
@click.argument("nodes", nargs=-1, metavar="NODE…")
@click.option("--all-missing", is_flag=True, help="All members that do not show as members any more.")
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@_PATIENCE
def forget_command(
    operator: Operator, nodes: tuple[str, ...], all_missing: bool, yes: bool, patience: int
) -> int:
    """Give up NODEs that were members, do not show as members any more, and never will again.

    A member ends by itself when EC2 says that it is terminated. One that has merely lost its tag, or that EC2
    has forgotten together with most others, keeps its routes and blocks until it is given up here. Its pods
    are cut off then, and its blocks go to others after the quarantine.
    """
    if bool(nodes) == all_missing:
        raise RefusedError("name either nodes or --all-missing")
    found = operator.plan_forget(nodes)
    if yes and found:
        operator.forget(found.keys(), patience=timedelta(seconds=patience))
    for node, why in found.items():
        click.echo(f"{'given up' if yes else 'would give up'}: {node}, which {why}")
    click.echo(f"{counted(len(found), 'node')} {'given up' if yes else 'would be given up; --yes does it'}")
    return 0


@click.command("restore")
@over_aws
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@_PATIENCE
def restore_command(operator: Operator, yes: bool, patience: int) -> int:
    """Begin a new epoch of the store, after its table was restored from a backup, or lost and made anew.

    The store does not know then which blocks running nodes use. In the new epoch nobody gets a block, a map
    or a route before the agent of every node that runs has said what it holds; then all goes on. "podway
    status" names those that are awaited. Terminate one that is dead, or take its tag away and give it up by
    "podway forget".
    """
    restoring = operator.restoring()
    told = restoring.begin(patience=timedelta(seconds=patience)) if yes else restoring.plan()
    click.echo(
        f"the store: {told.why or f'it is in epoch {told.before.number}, and nothing speaks against it'}"
    )
    for node in told.waits_for:
        click.echo(f"{'waits' if yes else 'would wait'} for {node} to say what it holds")
    for table in told.takes_over:
        click.echo(f"{'took' if yes else 'would take'} {table} over from another stack")
    begins = f"epoch {told.after.number}"
    click.echo(f"{begins} has begun" if yes else f"{begins} would begin; --yes does it")
    return 0


@click.command("release")
@over_aws
@click.option("--yes", is_flag=True, help="Do it; without this it is only said what would be done.")
@click.option("--undo", is_flag=True, help="Let reconcile manage the cluster again.")
@_PATIENCE
def release_command(operator: Operator, yes: bool, undo: bool, patience: int) -> int:
    """Remove every managed route and the alarms on nodes, and keep reconcile from making them anew.

    Run it before "sam delete", which would leave the routes behind. Pods of different subnets no longer
    reach each other afterwards. Whoever interrupts it runs it again, and it goes on where it stopped.
    """
    if undo:
        click.echo("managed again" if operator.resume() else "was not released")
        return 0
    released = operator.release(patience=timedelta(seconds=patience)) if yes else operator.plan_release()
    _print_release(released, done=yes)
    if released.failed:
        _, _, error = released.failed[0]
        raise DeniedError(f"not removed: {counted(len(released.failed), 'route')}: {error}")
    if released.alarms_left:
        raise DeniedError(f"alarms were not removed: {released.alarms_left}")
    return 0


def _print_release(released: Released, *, done: bool) -> None:
    steps = released.deleted if done else released.found.deletes
    for table, step in steps:
        click.echo(f"{'deleted' if done else 'would delete'} {step.destination} in {table}")
    for table, destination, target in released.found.left:
        click.echo(f"left: {destination} in {table} leads to {target}, which is not ours", err=True)
    for table, count in released.found.lost.items():
        click.echo(f"left: {table} with {counted(count, 'recorded route')} is not to be seen", err=True)
    what = f"{counted(len(steps), 'route')} and {counted(len(released.alarms), 'alarm')}"
    click.echo(f"{what} {'deleted' if done else 'would be deleted; --yes does it'}")
