"""Sentences about what the world no longer says: nodes without their tag, a store restored from a backup.

The player knows them by `RESTORING`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta

from podway.adapters.fast_items import LEASE
from podway.domain.model import counted
from podway.domain.tables import TABLE_TAG

from podway_lab import sources
from podway_lab.region.faults import Kind
from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs
from podway_lab.stack.template import Place, Template

RESTORING = Verbs()
_PATIENCE = timedelta(seconds=60)
"""How long `podway restore` waits for a run of reconcile to let go of the lease."""


# ---- tags -------------------------------------------------------------------------------------------


@RESTORING.says(r"the tag is taken from every node")
def _untagged(stage: Stage, _: re.Match[str]) -> str:
    nodes = stage.lab.nodes()
    stage.lab.operator.delete_tags(
        Resources=[stage.lab.ids[node] for node in nodes], Tags=[{"Key": TABLE_TAG}]
    )
    return counted(len(nodes), "node")


@RESTORING.says(r"every node has the tag again")
def _tagged(stage: Stage, _: re.Match[str]) -> str:
    nodes = stage.lab.nodes()
    stage.lab.operator.create_tags(
        Resources=[stage.lab.ids[node] for node in nodes],
        Tags=[{"Key": TABLE_TAG, "Value": stage.lab.plan.cluster}],
    )
    return counted(len(nodes), "node")


# ---- the table --------------------------------------------------------------------------------------


@RESTORING.says(r"the store is backed up")
def _backed_up(stage: Stage, _: re.Match[str]) -> str:
    """As it is now: DynamoDB's point in time."""
    made = stage.lab.client("dynamodb").create_backup(TableName=stage.lab.region.table, BackupName="lab")
    stage.backup = made["BackupDetails"]["BackupArn"]
    return stage.backup


@RESTORING.says(r"the functions are pointed at a table restored from the backup")
def _functions_pointed(stage: Stage, _: re.Match[str]) -> str:
    """A restored table has another name and TableId, and no stream before somebody switches it on.

    The lab's point in time is a moment ago. For one of an hour ago, the lease that a run held then is over.
    """
    dynamodb = stage.lab.client("dynamodb")
    stage.restored = f"{stage.lab.region.table}-restored"
    dynamodb.restore_table_from_backup(TargetTableName=stage.restored, BackupArn=stage.backup)
    dynamodb.update_table(
        TableName=stage.restored,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    lease = {name: {"S": value} for name, value in LEASE.items()}
    dynamodb.delete_item(TableName=stage.restored, Key=lease)
    stream = dynamodb.describe_table(TableName=stage.restored)["Table"]["LatestStreamArn"]
    stage.lab.use_table(stage.restored, stream)
    return stage.restored


@RESTORING.says(r"the agents are pointed at the restored table")
def _agents_pointed(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.fleet.use_table(stage.restored)
    return counted(len(stage.lab.nodes()), "agent")


@RESTORING.says(r"nobody may read the table's id")
def _id_hidden(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.ec2.faults.arm(
        Kind.REFUSED, action="dynamodb:DescribeTable", caller="podway/*", code="AccessDeniedException"
    )
    return "reconcile cannot tell a restored table by it"


@RESTORING.says(r"the table's id can be read again")
def _id_shown(stage: Stage, _: re.Match[str]) -> str:
    stage.lab.ec2.faults.disarm(Kind.REFUSED)
    return ""


@RESTORING.says(r"the functions start anew")
def _anew(stage: Stage, _: re.Match[str]) -> str:
    """What they have read once in the life of their processes, they read again."""
    functions = stage.lab.delivery.stack.functions()
    for function in functions:
        stage.lab.delivery.chill(function)
    return counted(len(functions), "function")


@RESTORING.says(r"podway restore begins a new epoch")
def _begins(stage: Stage, _: re.Match[str]) -> str:
    done = stage.lab.podway.restoring().begin(patience=_PATIENCE)
    waits = f"epoch {done.after.number} waits for {counted(len(done.waits_for), 'node')}"
    return f"{waits}; {done.why or 'all was well'}"


@RESTORING.says(r"the store's epoch has passed those of the agents")
def _passed(stage: Stage, _: re.Match[str]) -> str:
    """The agents' epochs are in the items that they write, in the table that they use."""
    lab = stage.lab
    now, reports = lab.store.recall().epoch, lab.store_in(lab.region.table).recall().reports
    heard = max((report.epoch for report in reports.values()), default=0)
    if now is None or not heard or now.number <= heard:
        raise NotSo(f"the store is in epoch {now and now.number}, agents are in {heard}")
    return f"{now.number}, agents are in {heard}"


# ---- what is expected -------------------------------------------------------------------------------


@RESTORING.says(r"note which blocks the nodes hold")
def _note_held(stage: Stage, _: re.Match[str]) -> str:
    stage.held = stage.lab.blocks()
    return counted(len(stage.held), "block")


@RESTORING.says(r"every node holds the blocks that it held")
def _holds(stage: Stage, _: re.Match[str]) -> str:
    """By the store; whoever came later may hold others."""
    now = stage.lab.blocks()
    changed = [
        f"{block} was {owner}'s, is {now.get(block, 'nobody')}'s"
        for block, owner in stage.held.items()
        if now.get(block) != owner
    ]
    if changed or not stage.held:
        raise NotSo("; ".join(changed) or "nothing was noted")
    return counted(len(stage.held), "block")


@RESTORING.says(r"(?P<node>\S+) has no block")
def _has_none(stage: Stage, match: re.Match[str]) -> str:
    found = [str(block) for block, owner in stage.lab.blocks().items() if owner == match["node"]]
    if found:
        raise NotSo(f"it has {', '.join(found)}")
    return ""


@RESTORING.says(r"every agent holds its subnet's newest map")
def _current(stage: Stage, _: re.Match[str]) -> str:
    memory, lab = stage.lab.store.recall(), stage.lab
    behind = []
    for node in lab.nodes():
        report, made = memory.reports.get(lab.ids[node]), memory.maps.get(lab.ids[lab.subnet_of(node)])
        held = (report.epoch, report.generation) if report else (0, 0)
        if made is None or held != (made.epoch, made.generation):
            behind.append(f"{node} holds {held[1]} of epoch {held[0]}, {made and made.generation} is newest")
    if behind:
        raise NotSo("; ".join(behind))
    return counted(len(lab.nodes()), "agent")


@RESTORING.says(r"the alarm (?P<name>\S+) is (?P<quiet>not )?raised")
def _alarmed(stage: Stage, match: re.Match[str]) -> str:
    """The template's alarm, of the metric's last value; the lab does not model CloudWatch's periods."""
    vpc = next(iter(stage.lab.ec2.state.vpcs))
    parameters = {"ClusterName": stage.lab.plan.cluster, "VpcId": vpc}
    alarm = Template(sources.TEMPLATE, parameters, Place()).properties(match["name"])
    value = next(_values(stage, alarm["MetricName"]), None)
    if value is None:
        raise NotSo(f"nobody has counted {alarm['MetricName']} yet")
    if (value > float(alarm["Threshold"])) == bool(match["quiet"]):
        raise NotSo(f"{alarm['MetricName']} is {value:.0f}")
    return f"{alarm['MetricName']} is {value:.0f}"


def _values(stage: Stage, metric: str) -> Iterator[float]:
    """What the functions have counted, newest first: CloudWatch reads it from their logs."""
    for run in reversed(stage.lab.delivery.invocations()):
        for line in reversed(run.printed.splitlines()):
            if '"_aws"' in line and metric in (said := json.loads(line)):
                found = said[metric]
                yield float(found[-1] if isinstance(found, list) else found)
