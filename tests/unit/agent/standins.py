"""Small stand-ins, over real HTTP, for what an agent asks of AWS: instance metadata and DynamoDB."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self

from podway.wire.snapshot import Snapshot, pack


class Answering(BaseHTTPRequestHandler):
    """One request; says nothing on the terminal."""

    protocol_version = "HTTP/1.1"

    def answer(self, text: str | None, status: int = 404, headers: Mapping[str, str] | None = None) -> None:
        """Send *text* with 200, or, without one, *status*."""
        body = (text or "").encode()
        self.send_response(status if text is None else 200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output quiet."""


class Server(ThreadingHTTPServer):
    """One that does not print when a client is killed in mid-request."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients are killed here on purpose."""


class Served:
    """A server on a socket that listens already (in whichever namespace it was opened)."""

    def __init__(self, listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        address = listening.getsockname()
        self.server = Server(address, handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = listening
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Metadata(Served):
    """A metadata service of version 2: answers only those who fetched a token."""

    def __init__(self, listening: socket.socket, told: Mapping[str, str]) -> None:
        self.told = dict(told)
        self.asked: list[str] = []
        outer = self

        class Handler(Answering):
            def do_PUT(self) -> None:
                known = self.path == "/latest/api/token"
                seconds = self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
                kept = {"X-aws-ec2-metadata-token-ttl-seconds": str(seconds)}
                self.answer("secret" if known and seconds else None, headers=kept)

            def do_GET(self) -> None:
                path = self.path.removeprefix("/latest/meta-data/")
                outer.asked.append(path)
                allowed = self.headers["X-aws-ec2-metadata-token"] == "secret"
                self.answer(outer.told.get(path) if allowed else None)

        super().__init__(listening, Handler)


class Table(Served):
    """GetItem and PutItem of one table in memory; can be away."""

    TARGET: ClassVar = "DynamoDB_20120810."

    def __init__(self, listening: socket.socket) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.away = False
        self.calls: list[str] = []
        self.written: list[dict[str, Any]] = []
        self.on_write: Callable[[dict[str, Any]], None] = lambda _: None
        outer = self

        class Handler(Answering):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operation = self.headers["X-Amz-Target"].removeprefix(outer.TARGET)
                outer.calls.append(operation)
                if outer.away:
                    self.answer(None, status=503)
                    return
                self.answer(json.dumps(outer.do(operation, asked)))

        super().__init__(listening, Handler)

    def do(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "PutItem":
            item = asked["Item"]
            self.on_write(item)
            self.written.append(item)
            self.items[item["pk"]["S"], item["sk"]["S"]] = item
            return {}
        assert operation == "GetItem", f"an agent has no business with {operation}"
        found = self.items.get((asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]))
        return {"Item": found} if found else {}

    def publish(self, told: Snapshot) -> None:
        """Write *told* as the control plane does: the body first."""
        packed = pack(told)
        shared = {"generation": {"N": str(told.generation)}, "checksum": {"S": packed.checksum}}
        key = f"snapshot#{told.subnet}"
        body = {"B": base64.b64encode(packed.body).decode()}
        self.items[key, "body"] = {**shared, "body": body}
        self.items[key, "version"] = shared


class Identifier(Served):
    """STS that knows one caller."""

    ANSWER: ClassVar = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<GetCallerIdentityResult><UserId>{}</UserId><Account>123456789012</Account>"
        "<Arn>arn:aws:sts::123456789012:assumed-role/nodes/i</Arn></GetCallerIdentityResult>"
        "</GetCallerIdentityResponse>"
    )

    def __init__(self, listening: socket.socket, user_id: str) -> None:
        self.asked = 0
        outer = self

        class Handler(Answering):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                assert "Action=GetCallerIdentity" in body
                outer.asked += 1
                self.answer(outer.ANSWER.format(user_id), headers={"Content-Type": "text/xml"})

        super().__init__(listening, Handler)
