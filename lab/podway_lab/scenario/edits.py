"""Sentences about what somebody else writes: routes by hand, and items that are not the writer's own.

The player knows them by `EDITS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import ClientError
from podway.adapters.fast_items import CARDS
from podway.domain.addressing import Prefix

from podway_lab.scenario.stage import NotSo, Stage
from podway_lab.scenario.verbs import Verbs

EDITS = Verbs()


@EDITS.says(r"somebody points the anchor of (?P<owner>\S+) in the table of (?P<subnet>\S+) at (?P<node>.+)")
def _points(stage: Stage, match: re.Match[str]) -> str:
    lab, node = stage.lab, stage.chosen(match["node"])
    (interface,) = lab.ec2.state.instances[lab.ids[node]].interfaces
    lab.operator.replace_route(
        RouteTableId=lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=_anchor(stage, match["owner"]),
        NetworkInterfaceId=interface,
    )
    return f"{_anchor(stage, match['owner'])} to {node}"


@EDITS.says(r"somebody deletes the anchor of (?P<owner>\S+) from the table of (?P<subnet>\S+)")
def _deletes(stage: Stage, match: re.Match[str]) -> str:
    stage.lab.operator.delete_route(
        RouteTableId=stage.lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=_anchor(stage, match["owner"]),
    )
    return _anchor(stage, match["owner"])


@EDITS.says(r"somebody adds (?P<count>\d+) routes? to the table of (?P<subnet>\S+)")
def _adds(stage: Stage, match: re.Match[str]) -> str:
    table = stage.lab.ids[f"rtb-{match['subnet']}"]
    for _ in range(int(match["count"])):
        stage.lab.operator.create_route(
            RouteTableId=table,
            DestinationCidrBlock=f"192.168.{100 + next(stage.added)}.0/24",
            GatewayId=_gateway(stage),
        )
    return f"to {table}"


@EDITS.says(r"somebody adds a route for (?P<cidr>\S+) to the table of (?P<subnet>\S+)")
def _adds_one(stage: Stage, match: re.Match[str]) -> str:
    stage.lab.operator.create_route(
        RouteTableId=stage.lab.ids[f"rtb-{match['subnet']}"],
        DestinationCidrBlock=match["cidr"],
        GatewayId=_gateway(stage),
    )
    return ""


@EDITS.says(r"the route for (?P<cidr>\S+) in the table of (?P<subnet>\S+) is as it was made")
def _untouched(stage: Stage, match: re.Match[str]) -> str:
    routes = stage.lab.ec2.state.tables[stage.lab.ids[f"rtb-{match['subnet']}"]].routes
    found = routes.get(Prefix.parse(match["cidr"]))
    if found is None or found.target.id != _gateway(stage):
        raise NotSo(f"it is {found}")
    return ""


@EDITS.says(r"the anchor of (?P<owner>\S+) in the table of (?P<subnet>\S+) leads to a node of its own")
def _anchored(stage: Stage, match: re.Match[str]) -> str:
    routes = {str(one): hop for one, hop in stage.lab.managed(match["subnet"])}
    hop = routes.get(_anchor(stage, match["owner"]), "nobody")
    if hop not in stage.lab.nodes(match["owner"]):
        raise NotSo(f"it leads to {hop}")
    return f"to {hop}"


def _anchor(stage: Stage, owner: str) -> str:
    (supernet,) = stage.lab.supernets(owner)
    return str(supernet)


def _gateway(stage: Stage) -> str:
    """The VPC's internet gateway; made and attached if no route leads to one."""
    state, operator = stage.lab.ec2.state, stage.lab.operator
    for table in state.tables.values():
        for route in table.routes.values():
            if route.target.id.startswith("igw-"):
                return str(route.target.id)
    made = str(operator.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
    operator.attach_internet_gateway(InternetGatewayId=made, VpcId=next(iter(state.vpcs)))
    return made


@EDITS.says(r"(?P<node>\S+) forges the item of (?P<victim>\S+): it is refused")
def _forges(stage: Stage, match: re.Match[str]) -> str:
    identities, ids = stage.lab.identities, stage.lab.ids
    table = _as_instance(stage, match["node"])
    victim = identities.instance(ids[match["victim"]])
    forged = {"pk": victim.user_id, "sk": "agent", "reports": "agents", "suspecting": True}
    refused = [_refused(lambda: table.put_item(Item=forged), "its item")]
    refused.append(_refused(lambda: table.put_item(Item={"pk": CARDS, "sk": "x"}), "a card"))
    return f"as {identities.instance(ids[match['node']]).user_id}: {', '.join(refused)} refused"


def _as_instance(stage: Stage, node: str) -> Any:
    identity = stage.lab.identities.instance(stage.lab.ids[node])
    session = boto3.Session(
        region_name=stage.lab.ec2.settings.name,
        aws_access_key_id=identity.access_key,
        aws_secret_access_key=identity.secret,
        aws_session_token=identity.token,
    )
    resource: Any = session.resource("dynamodb", endpoint_url=stage.lab.server.url)
    return resource.Table(stage.lab.region.table)


def _refused(write: Callable[[], object], what: str) -> str:
    try:
        write()
    except ClientError as error:
        if error.response["Error"]["Code"] == "AccessDeniedException":
            return what
        raise
    raise NotSo(f"{what} was written")
