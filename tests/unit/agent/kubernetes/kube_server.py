"""A stand-in for the API server, over real TLS: one Node, and the refusals that a real one was seen to give.

The rules and messages are those of Kubernetes 1.20.2, recorded: podCIDR is set once, one per family, a
stale resourceVersion is a conflict, and a kubelet's identity may touch its own Node only.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.agent.standins import Answering, Served

NAME = "ip-10-0-0-10"
TOKEN = "a kubelet's token"
SET_ONCE = (
    'Node "{name}" is invalid: [spec.podCIDRs: Forbidden: node updates may not change podCIDR except from ""'
    " to valid, []: Forbidden: node updates may only change labels, taints, or capacity (or configSource, if"
    " the DynamicKubeletConfig feature gate is enabled)]"
)
ONE_PER_FAMILY = (
    'Node "{name}" is invalid: spec.podCIDRs: Invalid value: {cidrs}: may specify no more than one CIDR for'
    " each IP family"
)
STALE = (
    'Operation cannot be fulfilled on nodes "{name}": the object has been modified; please apply your changes'
    " to the latest version and try again"
)
NOT_YOURS = 'nodes "{name}" is forbidden: node "other" is not allowed to modify node "{name}"'
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 422: "Invalid"}


def fresh_node(**spec: Any) -> dict[str, Any]:
    """A Node as a kubelet registers it and a cloud controller taints it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NAME, "resourceVersion": "100", "annotations": {"volumes": "true"}},
        "spec": {"providerID": "aws:///us-west-2a/i-0a", **spec},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "KubeletNotReady"},
                {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"},
            ]
        },
    }


@dataclass(frozen=True)
class Authority:
    """A certificate authority as old clusters have it (no key usage), and a server's certificate of it."""

    certificate: Path
    server: Path
    """Certificate and key of the server, for 127.0.0.1 and ``kubernetes``."""


def make_authority(folder: Path) -> Authority:
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, server_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        for name in ("kubernetes-ca", "kube-apiserver")
    )
    now = dt.datetime.now(dt.UTC)

    def signed(subject: x509.Name, key: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority_key, hashes.SHA256())

    pem = serialization.Encoding.PEM
    names = [x509.DNSName("kubernetes"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    authority = signed(
        authority_name, authority_key, (x509.BasicConstraints(ca=True, path_length=None), True)
    )
    server = signed(server_name, server_key, (x509.SubjectAlternativeName(names), False))
    key = server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made = Authority(folder / "ca.crt", folder / "server.pem")
    made.certificate.write_bytes(authority.public_bytes(pem))
    made.server.write_bytes(server.public_bytes(pem) + key)
    return made


class ApiServer(Served):
    """Knows one Node; wants the token."""

    def __init__(self, listening: socket.socket, authority: Authority, node: dict[str, Any]) -> None:
        self.node = node
        self.asked: list[tuple[str, str]] = []
        self.overtaken = 0
        """How many of the next changes find that somebody was faster."""
        outer = self

        class Handler(Answering):
            def do_GET(self) -> None:  # noqa: N802  (http.server calls it so)
                outer.asked.append(("GET", self.path))
                self.reply(*outer.get(self.path, str(self.headers["Authorization"])))

            def do_PATCH(self) -> None:  # noqa: N802  (http.server calls it so)
                outer.asked.append(("PATCH", self.path))
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = str(self.headers["Content-Type"])
                self.reply(*outer.patch(self.path, kind, body, str(self.headers["Authorization"])))

            def reply(self, status: int, document: dict[str, Any]) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.server)
        self.port = listening.getsockname()[1]
        super().__init__(listening, Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def get(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        if authorization != f"Bearer {TOKEN}":
            return refusal(401, "Unauthorized")
        if path != f"/api/v1/nodes/{NAME}":
            return refusal(404, f'nodes "{path.rpartition("/")[2]}" not found')
        return 200, self.node

    def patch(
        self, path: str, kind: str, body: dict[str, Any], authorization: str
    ) -> tuple[int, dict[str, Any]]:
        if authorization != f"Bearer {TOKEN}":
            return refusal(401, "Unauthorized")
        if path == f"/api/v1/nodes/{NAME}/status":
            assert kind == "application/strategic-merge-patch+json", "another kind replaces the whole list"
            merged = {one["type"]: one for one in self.node["status"]["conditions"]}
            merged |= {one["type"]: one for one in body["status"]["conditions"]}
            self.node["status"]["conditions"] = list(merged.values())
            return 200, self.node
        if path != f"/api/v1/nodes/{NAME}":
            return refusal(403, NOT_YOURS.format(name=path.rpartition("/")[2]))
        assert kind == "application/merge-patch+json"
        return self.change(body)

    def change(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Metadata and spec, by the API server's rules."""
        metadata, spec = self.node["metadata"], self.node["spec"]
        if self.overtaken:
            self.overtaken -= 1
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if (
            body["metadata"].get("resourceVersion", metadata["resourceVersion"])
            != metadata["resourceVersion"]
        ):
            return refusal(409, STALE.format(name=NAME))
        wanted = body.get("spec", {}).get("podCIDRs", spec.get("podCIDRs"))
        if spec.get("podCIDRs") and wanted != spec["podCIDRs"]:
            return refusal(422, SET_ONCE.format(name=NAME))
        families = [ipaddress.ip_network(cidr).version for cidr in wanted or ()]
        if len(set(families)) < len(families):
            return refusal(422, ONE_PER_FAMILY.format(name=NAME, cidrs=json.dumps(wanted)))
        spec |= {"podCIDR": wanted[0], "podCIDRs": wanted} if wanted else {}
        metadata["annotations"] |= body["metadata"].get("annotations", {})
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        return 200, self.node


def refusal(status: int, message: str) -> tuple[int, dict[str, Any]]:
    """The Status document that comes with a refusal."""
    return status, {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": REASONS[status],
        "code": status,
    }


def kubeconfig(server: str, *, cluster: dict[str, Any], user: dict[str, Any]) -> str:
    """A kubeconfig as kubeadm writes it, with another context beside the current one."""
    import yaml

    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "kubelet@demo",
            "contexts": [
                {"name": "other", "context": {"cluster": "other", "user": "other"}},
                {"name": "kubelet@demo", "context": {"cluster": "demo", "user": "kubelet"}},
            ],
            "clusters": [
                {"name": "other", "cluster": {"server": "https://192.0.2.1"}},
                {"name": "demo", "cluster": {"server": server, **cluster}},
            ],
            "users": [{"name": "kubelet", "user": user}, {"name": "other", "user": {}}],
        }
    )
