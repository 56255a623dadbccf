"""The region on HTTP: the strict model for EC2, moto for everything around it.

The lab starts one; agents, functions, pollers and operators call it. In front of moto's own application
stands one that knows the callers, logs every call, lets faults happen and checks the policy of the nodes'
role. It answers EC2, Service Quotas and GetCallerIdentity itself, so that there are never two truths.
"""

from __future__ import annotations

import io
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Self
from wsgiref.types import StartResponse, WSGIApplication

from botocore.exceptions import ClientError, ConnectionClosedError
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from podway_lab.region.alarms import AlarmWatch
from podway_lab.region.changes import EventPut
from podway_lab.region.deduplication import Deduplication
from podway_lab.region.errors import refusal
from podway_lab.region.hooks import LifecycleActions
from podway_lab.region.identities import Identities, Identity, may
from podway_lab.region.model import StrictEC2
from podway_lab.region.quotas import ServiceQuotas
from podway_lab.region.wire import Asked, Reply, answer, error_code, given, json_body, read, refuse
from podway_lab.region.wsgi import DroppedConnection, WsgiServer


class RegionServer:
    """Serves *ec2*, and a fresh moto beside it; port 0 takes a free one."""

    def __init__(
        self,
        ec2: StrictEC2 | None = None,
        *,
        identities: Identities | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.ec2 = ec2 or StrictEC2()
        self.identities = identities or Identities(self.ec2.settings.account)
        self._where = (host, port)
        self._http: WsgiServer | None = None
        self.actions = LifecycleActions()
        """What Auto Scaling groups wait for."""
        self._front = Front(self.ec2, self.identities, self.actions)

    def serve(self, ec2: StrictEC2) -> None:
        """Answer for *ec2* from now on; what moto holds stays."""
        self.ec2 = ec2
        self._front = Front(ec2, self.identities, self.actions)

    def start(self) -> str:
        """Listen in the caller's network namespace, and forget what moto held; the endpoint's URL."""
        sock = socket.create_server(self._where)
        moto_api_backend.reset()
        self._http = WsgiServer(self._answer, sock)
        return self.url

    def _answer(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        return self._front(environ, start)

    @property
    def url(self) -> str:
        assert self._http is not None, "start() comes first"
        host, port = self._http.address
        return f"http://{host}:{port}"

    def stop(self) -> None:
        """Drop every connection; what the region holds stays."""
        if self._http is not None:
            self._http.stop()
            self._http = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Front:
    """The WSGI application in front of moto's."""

    def __init__(self, ec2: StrictEC2, identities: Identities, actions: LifecycleActions) -> None:
        self._ec2 = ec2
        self._identities = identities
        self._moto: WSGIApplication = DomainDispatcherApplication(create_backend_app)
        self._quotas = ServiceQuotas(ec2)
        self._sent = Deduplication(ec2.clock)
        self._alarms = AlarmWatch(
            ec2.tell, clock=ec2.clock, account=ec2.settings.account, region=ec2.settings.name
        )
        self._one_at_a_time = threading.Lock()
        self._ours: Mapping[str, Callable[[Asked, Identity], Mapping[str, Any]]] = {
            "servicequotas:GetServiceQuota": self._get_service_quota,
            "sts:GetCallerIdentity": self._get_caller_identity,
            "autoscaling:CompleteLifecycleAction": lambda asked, _: actions.complete(given(asked)),
            "autoscaling:RecordLifecycleActionHeartbeat": lambda asked, _: actions.extend(given(asked)),
        }

    def __call__(self, environ: dict[str, Any], start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self._ec2.settings.account
        asked = read(environ, body)
        if not asked.service:
            return self._moto(environ, start)
        identity = self._identities.of(asked.access_key)
        try:
            if asked.service == "ec2":
                status, headers, sent = self._answer_ec2(asked, identity)
            else:
                status, headers, sent = self._answer_other(asked, identity, environ)
        except ClientError as error:
            status, headers, sent = refuse(asked, error)
        except ConnectionClosedError as error:
            raise DroppedConnection from error
        start(status, headers)
        return [sent]

    def _answer_ec2(self, asked: Asked, identity: Identity) -> Reply:
        if identity.kind == "instance":
            with self._ec2.calls.entry(identity.name, asked.action, {}):
                raise refusal(asked.operation, "UnauthorizedOperation", _denial(asked, identity))
        try:
            parameters = given(asked)
        except KeyError:
            raise refusal(
                asked.operation, "InvalidAction", f"The action {asked.operation} is not valid"
            ) from None
        return answer(asked, self._ec2.call(asked.operation, parameters, identity.name))

    def _answer_other(self, asked: Asked, identity: Identity, environ: dict[str, Any]) -> Reply:
        parameters = json_body(asked)
        with (
            self._ec2.calls.entry(identity.name, asked.action, parameters) as ending,
            self._ec2.faults.around(asked.action, identity.name),
        ):
            if not may(identity, asked.action, parameters):
                raise refusal(asked.operation, "AccessDeniedException", _denial(asked, identity))
            if ours := self._ours.get(asked.action):
                return answer(asked, ours(asked, identity))
            with self._alarms.around(identity.name) if asked.service == "monitoring" else nullcontext():
                reply = self._sent.once(asked.action, parameters, lambda: self._ask_moto(asked, environ))
            ending.error = error_code(reply)
            if asked.action == "events:PutEvents" and not ending.error:
                self._tell_events(parameters, identity)
            return reply

    def _tell_events(self, parameters: Mapping[str, Any], identity: Identity) -> None:
        """Moto takes events and delivers them to nobody here: the rules are in the stack's own delivery."""
        for entry in parameters["Entries"]:
            put = EventPut(
                entry["Source"], entry["DetailType"], entry["Detail"], self._ec2.clock(), identity.name
            )
            self._ec2.tell(put)

    def _ask_moto(self, asked: Asked, environ: dict[str, Any]) -> Reply:
        """Moto's answer; one request to its DynamoDB at a time.

        A transaction there copies whole tables and puts the copies back when it is refused, so that writes
        beside it would be lost, or break the copying.
        """
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[[bytes], object]:
            begun.append((status, headers))
            return lambda _: None

        with self._one_at_a_time if asked.service == "dynamodb" else nullcontext():
            sent = b"".join(self._moto(environ, start))
        status, headers = begun[-1]
        reply = (status, headers, sent)
        return with_table_id(reply) if asked.action == "dynamodb:DescribeTable" else reply

    def _get_service_quota(self, asked: Asked, _: Identity) -> Mapping[str, Any]:
        return self._quotas.get_service_quota(**given(asked))

    def _get_caller_identity(self, _: Asked, identity: Identity) -> Mapping[str, Any]:
        return {"UserId": identity.user_id, "Account": identity.account, "Arn": identity.arn}


def with_table_id(reply: Reply) -> Reply:
    """The answer of DescribeTable with the TableId, which moto leaves out: a table made anew has another."""
    status, headers, sent = reply
    said = json.loads(sent)
    if table := said.get("Table"):
        made = f"{table['TableArn']} {table['CreationDateTime']}"
        table["TableId"] = str(uuid.uuid5(uuid.NAMESPACE_URL, made))
    sent = json.dumps(said).encode()
    kept = [one for one in headers if one[0].lower() not in ("content-length", "x-amz-crc32")]
    return status, [*kept, ("Content-Length", str(len(sent)))], sent


def _denial(asked: Asked, identity: Identity) -> str:
    return (
        f"User: {identity.arn} is not authorized to perform: {asked.action} "
        "because no identity-based policy allows it"
    )
