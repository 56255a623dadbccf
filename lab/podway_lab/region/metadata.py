"""The instance metadata service, version 2 only, of one instance.

Each machine of the lab has one. A PUT gets a session token, every GET needs it, and a PUT that came through
a proxy (X-Forwarded-For) is refused: "Use IMDSv2" and "Instance metadata categories" of the EC2 user guide.
"""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from podway.domain.addressing import Prefix
from werkzeug.wrappers import Request, Response

from podway_lab.region.identities import Identities, Identity
from podway_lab.region.model import StrictEC2
from podway_lab.region.state import Instance, Interface, State
from podway_lab.region.wsgi import WsgiServer

_LONGEST_TOKEN = 21_600
_CREDENTIALS_LAST = timedelta(hours=6)
_TTL = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN = "X-aws-ec2-metadata-token"  # noqa: S105  (a header's name)

Tree = Mapping[str, "str | Tree"]


def serve_metadata(
    sock: socket.socket, instance: str, *, ec2: StrictEC2, identities: Identities
) -> WsgiServer:
    """Answers for *instance* on *sock*, which already listens (in the instance's namespace)."""
    return WsgiServer(Metadata(instance, ec2=ec2, identities=identities).wsgi, sock)


class Metadata:
    """What one instance is told about itself, as the region has it at each request."""

    def __init__(self, instance: str, *, ec2: StrictEC2, identities: Identities) -> None:
        self._instance = instance
        self._ec2 = ec2
        self._identities = identities
        self._sessions: dict[str, datetime] = {}

    def wsgi(self, environ: dict[str, Any], start: Any) -> Any:
        """The WSGI application."""
        return self.respond(Request(environ))(environ, start)

    def respond(self, request: Request) -> Response:
        if request.method == "PUT":
            return self._open_session(request)
        if request.method != "GET":
            return Response("", 405)
        expires = self._sessions.get(request.headers.get(_TOKEN, ""))
        if expires is None or expires <= self._ec2.clock():
            return Response("", 401)
        return self._read(request.path)

    def _open_session(self, request: Request) -> Response:
        if "X-Forwarded-For" in request.headers:
            return Response("", 403)
        if request.path != "/latest/api/token":
            return Response("", 404)
        lasts = request.headers.get(_TTL, "")
        if not lasts.isdecimal() or not 1 <= int(lasts) <= _LONGEST_TOKEN:
            return Response("", 400)
        token = secrets.token_urlsafe(42)
        self._sessions[token] = self._ec2.clock() + timedelta(seconds=int(lasts))
        return Response(token, headers={_TTL: lasts}, mimetype="text/plain")

    def _read(self, path: str) -> Response:
        with self._ec2.held() as state:
            instance = state.instances.get(self._instance)
            here: str | Tree | None = self._tree(instance, state) if instance else None
        for name in filter(None, path.split("/")):
            here = here.get(name) if isinstance(here, Mapping) else None
        if here is None:
            return Response("", 404)
        if isinstance(here, str):
            return Response(here, mimetype="text/plain")
        names = [name if isinstance(below, str) else f"{name}/" for name, below in sorted(here.items())]
        return Response("\n".join(names), mimetype="text/plain")

    def _tree(self, instance: Instance, state: State) -> Tree:
        interfaces = [state.interfaces[identity] for identity in instance.interfaces]
        document = json.dumps(self._document(instance, interfaces), indent=2)
        latest: dict[str, str | Tree] = {
            "meta-data": self._meta_data(instance, interfaces, state),
            "dynamic": {"instance-identity": {"document": document}},
        }
        return {"latest": latest}

    def _meta_data(self, instance: Instance, interfaces: list[Interface], state: State) -> Tree:
        tree: dict[str, str | Tree] = {
            "ami-id": instance.image,
            "instance-id": instance.id,
            "instance-type": instance.type,
            "instance-life-cycle": "spot" if instance.spot else "on-demand",
            "placement": {
                "availability-zone": instance.availability_zone,
                "region": self._ec2.settings.name,
            },
            "tags": {"instance": dict(instance.tags)},
        }
        if interfaces:
            primary = interfaces[0]
            tree |= {
                "mac": primary.mac,
                "local-ipv4": primary.address,
                "network": {"interfaces": {"macs": {i.mac: _interface(i, state) for i in interfaces}}},
            }
        if instance.profile:
            tree["iam"] = self._iam(self._identities.instance(instance.id, instance.profile))
        return tree

    def _iam(self, identity: Identity) -> Tree:
        """The role is named like the instance profile, as the console and SAM make them."""
        now = self._ec2.clock()
        stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        profile = f"arn:aws:iam::{identity.account}:instance-profile/{identity.role}"
        info = {"Code": "Success", "LastUpdated": stamp, "InstanceProfileArn": profile}
        credentials = {
            "Code": "Success",
            "LastUpdated": stamp,
            "Type": "AWS-HMAC",
            "AccessKeyId": identity.access_key,
            "SecretAccessKey": identity.secret,
            "Token": identity.token,
            "Expiration": (now + _CREDENTIALS_LAST).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return {
            "info": json.dumps(info, indent=2),
            "security-credentials": {identity.role: json.dumps(credentials, indent=2)},
        }

    def _document(self, instance: Instance, interfaces: list[Interface]) -> dict[str, Any]:
        return {
            "accountId": self._ec2.settings.account,
            "architecture": "x86_64",
            "availabilityZone": instance.availability_zone,
            "imageId": instance.image,
            "instanceId": instance.id,
            "instanceType": instance.type,
            "pendingTime": instance.launched.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": interfaces[0].address if interfaces else None,
            "region": self._ec2.settings.name,
            "version": "2017-09-30",
        }


def _interface(interface: Interface, state: State) -> Tree:
    cidrs: tuple[Prefix, ...] = state.vpcs[interface.vpc].cidrs
    ipv4 = [str(cidr) for cidr in cidrs if cidr.version == 4]  # noqa: PLR2004  (the family's own number)
    return {
        "device-number": "0",
        "interface-id": interface.id,
        "local-ipv4s": interface.address,
        "mac": interface.mac,
        "subnet-id": interface.subnet,
        "subnet-ipv4-cidr-block": str(state.subnets[interface.subnet].cidr),
        "vpc-id": interface.vpc,
        "vpc-ipv4-cidr-block": ipv4[0],
        "vpc-ipv4-cidr-blocks": "\n".join(ipv4),
    }
