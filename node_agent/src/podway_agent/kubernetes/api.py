"""Reads and patches one Node at the API server, on the standard library alone. `node_status` calls it.

Each library for this costs a node 15 to 70 MB; two requests in five minutes do not need one.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from podway_agent.kubernetes.node import Patch

IN_CLUSTER = "in-cluster"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS = 10.0
SUCCESS = range(200, 300)


class ApiAway(Exception):
    """The API server did not answer, or refused; *status* is 0 if it did not answer."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class BadCredentials(ValueError):
    """The kubeconfig cannot be used; the message says why."""


@dataclass(frozen=True)
class Access:
    """The API server's address, the authority that we trust, and our credentials.

    Files are read anew each time: they rotate.
    """

    server: str
    authority: Path | None = None
    authority_data: str = ""
    token: str = ""
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""

    def bearer(self) -> str:
        """The token; empty if we have a certificate instead. Raises OSError."""
        return self.token_file.read_text(encoding="ascii").strip() if self.token_file else self.token

    def context(self) -> ssl.SSLContext:
        """Trusts the cluster's own authority and nobody else. Raises OSError.

        Python 3.13 refuses authorities without a key usage (VERIFY_X509_STRICT), as many clusters'
        are. The flag is cleared for this authority alone; names and signatures are still checked.
        """
        made = ssl.create_default_context(
            cafile=str(self.authority) if self.authority else None, cadata=self.authority_data or None
        )
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None:
            made.load_cert_chain(self.certificate, self.key)
        return made


@contextlib.contextmanager
def access(where: str) -> Iterator[Access]:
    """The access that *where* gives: ``in-cluster``, or the path of a kubeconfig.

    Keys inside a kubeconfig are written to a private folder while the block lasts, since the TLS library
    wants files. Raises BadCredentials, OSError.
    """
    if where == IN_CLUSTER:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host:
            raise BadCredentials("in-cluster, but there is no KUBERNETES_SERVICE_HOST")
        host = f"[{host}]" if ":" in host else host
        yield Access(
            f"https://{host}:{port or 443}", authority=ACCOUNT / "ca.crt", token_file=ACCOUNT / "token"
        )
        return
    with tempfile.TemporaryDirectory(prefix="podway-") as private:
        yield from_kubeconfig(Path(where), Path(private))


def from_kubeconfig(path: Path, private: Path) -> Access:
    """The current context of the kubeconfig at *path*. Raises BadCredentials, OSError."""
    import yaml  # noqa: PLC0415  (only those who have a kubeconfig pay for it)

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        return _access(cluster, user, path.parent, private)
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise BadCredentials(f"{path}: {error}") from error


def _named(entries: list[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    found = next((entry for entry in entries if entry["name"] == name), None)
    if found is None:
        raise BadCredentials(f"there is no {name}")
    return found


def _access(cluster: Mapping[str, Any], user: Mapping[str, Any], beside: Path, private: Path) -> Access:
    for refused in ("exec", "auth-provider"):
        if refused in user:
            raise BadCredentials(f"{refused} is not supported: give a token, a token file or a certificate")
    if cluster.get("insecure-skip-tls-verify"):
        raise BadCredentials("insecure-skip-tls-verify is not supported: name the authority")

    def file(fields: Mapping[str, Any], name: str) -> Path | None:
        """The file that the field names, or one with the content of its ``-data`` field."""
        if data := fields.get(f"{name}-data"):
            kept = private / name
            kept.touch(mode=0o600)
            kept.write_bytes(base64.b64decode(data, validate=True))
            return kept
        return beside / fields[name] if fields.get(name) else None

    return Access(
        server=str(cluster["server"]),
        authority=file(cluster, "certificate-authority"),
        token=str(user.get("token") or ""),
        token_file=beside / user["tokenFile"] if user.get("tokenFile") else None,
        certificate=file(user, "client-certificate"),
        key=file(user, "client-key"),
        server_name=str(cluster.get("tls-server-name") or ""),
    )


class NodeApi:
    """One Node, by name."""

    def __init__(self, given: Access, name: str) -> None:
        self._given = given
        self._path = f"/api/v1/nodes/{quote(name, safe='')}"

    def read(self) -> dict[str, Any]:
        """The Node. Raises ApiAway."""
        return self._ask("GET", self._path)

    def patch(self, change: Patch) -> None:
        """Change the Node. Raises ApiAway."""
        headers = {"Content-Type": change.kind}
        self._ask("PATCH", f"{self._path}{change.part}", json.dumps(change.body).encode(), headers)

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            status, text = self._send(method, path, body, dict(headers or {}))
            answer = json.loads(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiAway(f"{method} {path}: {error}") from error
        said = answer if isinstance(answer, dict) else {}
        if status not in SUCCESS:
            raise ApiAway(f"{method} {path}: {status} {said.get('message', '')}".strip(), status=status)
        return said

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body. Never through a proxy. Raises OSError, HTTPException."""
        given, where = self._given, urlsplit(self._given.server)
        if where.scheme != "https":
            raise OSError(f"{given.server} is not https")
        if bearer := given.bearer():
            headers["Authorization"] = f"Bearer {bearer}"
        connection = _Connection(
            where.hostname or "",
            where.port or 443,
            timeout=_TIMEOUT_SECONDS,
            context=given.context(),
            server_name=given.server_name,
        )
        try:
            headers["Accept"] = "application/json"
            connection.request(method, where.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _Connection(http.client.HTTPSConnection):
    """A connection that checks the certificate for another name than the host's, where one is given."""

    def __init__(
        self, host: str, port: int, *, timeout: float, context: ssl.SSLContext, server_name: str
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._trust, self._server_name = context, server_name or host

    def connect(self) -> None:
        """Connect, and check the certificate for the name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._trust.wrap_socket(self.sock, server_hostname=self._server_name)
