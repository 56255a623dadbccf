"""Finds out who this node is: asks the instance metadata service (version 2) and, once, STS.

Agent asks at its start, and when the store refuses the identity; doctor asks without trusting the disk.
"""

from __future__ import annotations

import http.client
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from podway_agent.host.disk import IDENTITY, StateDirectory

log = logging.getLogger(__name__)

ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
DEFAULT_ENDPOINT = "http://169.254.169.254"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TOKEN_SECONDS = 300
_TIMEOUT_SECONDS = 2.0
_HTTP_OK = 200


class MetadataAway(Exception):
    """The metadata service did not answer, or not as expected."""


@dataclass(frozen=True)
class Identity:
    """What AWS says this instance is."""

    instance: str
    subnet: str
    address: str
    """Primary private IPv4 address."""
    mac: str
    """Of its primary network interface."""
    region: str
    userid: str
    """``aws:userid`` of the instance role's session: the key of the item that only this node may write."""


def boot_id() -> str:
    """The kernel's boot id; empty where it cannot be read."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def metadata(path: str, *, token: str) -> str:
    """The text at *path* below ``/latest/meta-data/``. Raises MetadataAway."""
    return _request("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": token})


def _request(method: str, path: str, headers: dict[str, str]) -> str:
    """One answer of the metadata service, never through a proxy."""
    where = urlsplit(os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT)
    connection = http.client.HTTPConnection(
        where.hostname or "", where.port or http.client.HTTP_PORT, timeout=_TIMEOUT_SECONDS
    )
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
        raise MetadataAway(f"{method} {path}: {error}") from error
    finally:
        connection.close()
    if answer.status != _HTTP_OK:
        raise MetadataAway(f"{method} {path}: status {answer.status}")
    return text.strip()


def identify(
    state: StateDirectory,
    *,
    region: str,
    role_id: str,
    ask_sts: Callable[[str], str],
    trust_disk: bool = True,
) -> Identity:
    """Find out which node we are.

    Only the instance id is asked each time. What never changes for an instance is kept on disk, and
    refused if it is another instance's (a disk that was copied into an image). *ask_sts* gives the
    caller's ``UserId`` in a region. It is not called if *role_id* is given, nor if the disk has the answer.
    Raises MetadataAway, OSError, and what *ask_sts* raises.
    """
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
    token = _request("PUT", "/latest/api/token", lifetime)
    instance = metadata("instance-id", token=token)
    known = _kept(state, instance) if trust_disk else None
    if known and (not role_id or known.userid == f"{role_id}:{instance}"):
        return known
    mac = metadata("mac", token=token)
    where = region or metadata("placement/region", token=token)
    found = Identity(
        instance=instance,
        subnet=metadata(f"network/interfaces/macs/{mac}/subnet-id", token=token),
        address=metadata("local-ipv4", token=token),
        mac=mac,
        region=where,
        userid=f"{role_id}:{instance}" if role_id else ask_sts(where),
    )
    if found.userid.partition(":")[2] != instance:
        raise MetadataAway(f"the credentials are of {found.userid}, not of the role of {instance}")
    state.write(IDENTITY, asdict(found))
    return found


def _kept(state: StateDirectory, instance: str) -> Identity | None:
    """The identity on disk, if it is that of *instance*."""
    fields = state.read(IDENTITY)
    if fields is None:
        return None
    try:
        kept = Identity(**fields)
    except TypeError:
        log.warning("saved identity refused", extra={"reason": "it has other fields"})
        return None
    if kept.instance != instance:
        log.warning("saved identity refused", extra={"reason": f"it is of {kept.instance}"})
        return None
    return kept
