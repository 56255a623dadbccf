"""What an operator tells the agent: a TOML or JSON file, and PODWAY_AGENT_* variables above it.

The command line reads them once and hands them on. Ground for all rooms.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from podway.wire.values import Cidr
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

PREFIX = "PODWAY_AGENT_"
DEFAULT_FILE = Path("/etc/podway/agent.toml")


class BadSettings(ValueError):
    """The settings cannot be used; the message names every fault."""


def _listed(value: Any) -> Any:
    """Variables carry lists with commas; files carry lists."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class Settings(BaseModel):
    """The agent's settings, checked once at the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    """The cluster's name: a snapshot of another is refused."""
    table: str = Field(min_length=3)
    """The DynamoDB table, an output of the stack."""
    region: str = ""
    """Empty: the region that the instance metadata names."""
    endpoint: str = ""
    """DynamoDB's address; empty: the SDK's own rules, AWS_ENDPOINT_URL among them."""
    role_id: str = Field(default="", pattern=r"^(AROA[A-Z0-9]+)?$")
    """Unique id of the nodes' role. Empty: STS is asked once, and must be reachable."""
    state_dir: Path = Path("/var/lib/podway")
    cni_conf_dir: Path = Path("/etc/cni/net.d")
    cni_data_dir: Path = Path("/run/cni-podway")
    """Where host-local keeps addresses in use; on /run, so that a reboot frees what leaked."""
    sysctl_dir: Path = Path("/proc/sys/net")
    """In a container: where the node's own is mounted; a container's is read-only."""
    interface: str = Field(default="", pattern=r"^[^\s/\"]{0,15}$")
    """Empty: the one that holds the node's primary address."""
    mtu: int = Field(default=0, ge=0, le=9001)
    """Of the pods' interfaces; 0: that of the node's interface, 9001 at most."""
    poll_fast_seconds: float = Field(default=2.0, gt=0)
    poll_slow_seconds: float = Field(default=30.0, gt=0)
    heartbeat_seconds: float = Field(default=300.0, gt=0)
    resync_seconds: float = Field(default=180.0, gt=0)
    """How often the whole kernel state is compared even without events."""
    probe_seconds: float = Field(default=0.2, ge=0)
    """Between two rounds of probes through the forwarders that this node watches; 0: it watches nobody."""
    metadata_for_pods: bool = False
    """Whether pods may reach the instance metadata service, and so the node's credentials."""
    keep_source_towards: Annotated[tuple[Cidr, ...], BeforeValidator(_listed)] = ()
    """Ranges outside the pod CIDR to which pods keep their own address (never the resolver or metadata)."""
    kubernetes: str = ""
    """Path of a kubeconfig, or ``in-cluster``: then Kubernetes is told of the node. Empty: it is not."""
    kubernetes_node: str = Field(default="", pattern=r"^[a-z0-9.-]*$")
    """Name of this node's Node. Empty: the host's name in lower case, as the kubelet has it."""
    listen: str = Field(default="127.0.0.1:9469", pattern=r"^(127\.[0-9.]+:[0-9]+)?$")
    """Loopback address of /healthz, /readyz and /metrics; empty: none."""
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")


def _file(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error
    try:
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise BadSettings(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise BadSettings(f"{path}: expected a table of settings")
    return content


def read_settings(environ: Mapping[str, str], path: Path | None = None) -> Settings:
    """The settings of *path* (the default file if there is one), overridden by *environ*.

    Raises BadSettings naming each unknown or faulty setting.
    """
    chosen = path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    values = _file(chosen) if chosen else {}
    variables = {
        name: name.removeprefix(PREFIX).lower()
        for name in environ
        if name.startswith(PREFIX) and name == name.upper()
    }
    if unknown := sorted(name for name, field in variables.items() if field not in Settings.model_fields):
        raise BadSettings(f"unknown settings: {', '.join(unknown)}")
    values |= {field: environ[name] for name, field in variables.items()}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise BadSettings("; ".join(faults)) from error
