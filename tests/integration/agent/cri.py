"""The little of the Container Runtime Interface that a kubelet needs to start a pod: over gRPC, by hand.

Field numbers are those of ``runtime.v1`` (kubernetes/cri-api, pkg/apis/runtime/v1/api.proto). The
protocol's own bindings for Python are of 2017, and these six messages need no compiler.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from tests import limits

SERVICE = "/runtime.v1.RuntimeService/"
CGROUP = f"podway-test-{os.getpid()}"
"""Parent of all pods' control groups."""
VARINT, BYTES = 0, 2

Field: TypeAlias = "int | str | Mapping[int, Field] | list[str] | list[Mapping[int, Field]]"
Message: TypeAlias = Mapping[int, Field]

ON_THE_HOST = 2
"""NamespaceMode NODE."""
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
"""What a kubelet has made read-only in every container that is not privileged."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode(message: Message) -> bytes:
    """A message as protobuf spells it: numbers as varints, everything else with its length."""
    out = b""
    for number, value in message.items():
        if isinstance(value, int):
            out += _varint(number << 3 | VARINT) + _varint(value)
            continue
        for part in value if isinstance(value, list) else [value]:
            body = part.encode() if isinstance(part, str) else encode(part)
            out += _varint(number << 3 | BYTES) + _varint(len(body)) + body
    return out


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place, value, shift = place + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while place < len(data):
        tag = varint()
        if tag & 7 == VARINT:
            yield tag >> 3, varint()
            continue
        assert tag & 7 == BYTES, "none of these messages has a field of another kind"
        size = varint()
        yield tag >> 3, data[place : place + size]
        place += size


def all_of(data: bytes, *path: int) -> list[bytes]:
    """Every value that stands at *path* (field numbers, outermost first)."""
    found = [data]
    for wanted in path:
        found = [
            value
            for part in found
            for number, value in _fields(part)
            if number == wanted and isinstance(value, bytes)
        ]
    return found


@dataclass(frozen=True)
class Sandbox:
    """A pod as the runtime started it."""

    id: str
    address: str
    namespace: Path
    """Of its network."""


class Runtime:
    """A container runtime behind its socket."""

    def __init__(self, path: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{path}")

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, message: Message) -> bytes:
        """The answer's bytes. Raises grpc.RpcError."""
        ask = self._channel.unary_unary(
            SERVICE + method, request_serializer=encode, response_deserializer=bytes
        )
        answer: bytes = ask(message, timeout=limits.PATIENCE_SECONDS, wait_for_ready=True)
        return answer

    def network_fault(self) -> str:
        """Why the runtime would start no pod; empty when its network is ready (condition NetworkReady)."""
        for condition in all_of(self._call("Status", {}), 1, 1):
            said = dict(_fields(condition))
            if said[1] == b"NetworkReady":
                return "" if said.get(2) else bytes(said.get(4, b"not ready")).decode()
        return "the runtime says nothing of a network"

    def run(self, name: str, *, ports: Mapping[int, int] | None = None) -> Sandbox:
        """Start a pod, with *ports* of the host led to its own; what the kubelet calls first for each.

        Raises grpc.RpcError.
        """
        metadata: Message = {1: name, 2: f"uid-{name}", 3: "default"}
        mappings: list[Message] = [{2: inner, 3: outer} for outer, inner in (ports or {}).items()]
        config: Message = {1: metadata, 2: name, 5: mappings, 8: {1: f"/{CGROUP}"}}
        (identity,) = all_of(self._call("RunPodSandbox", {1: config}), 1)
        return self._status(identity.decode())

    def run_on_host(
        self, name: str, container: Mapping[str, Any], *, folders: Mapping[str, Path], log: Path
    ) -> None:
        """Start a pod with the node's own network, and in it *container*, as a DaemonSet describes it.

        *folders* are its volumes by name. What it prints goes to *log*. Raises grpc.RpcError.
        """
        metadata: Message = {1: name, 2: f"uid-{name}", 3: "kube-system"}
        own_network: Message = {1: {1: ON_THE_HOST}}
        pod: Message = {1: metadata, 3: str(log.parent), 8: {1: f"/{CGROUP}", 2: own_network}}
        (identity,) = all_of(self._call("RunPodSandbox", {1: pod}), 1)
        config = container_config(container, folders, log=log.name)
        created = self._call("CreateContainer", {1: identity.decode(), 2: config, 3: pod})
        (made,) = all_of(created, 1)
        self._call("StartContainer", {1: made.decode()})

    def _status(self, identity: str) -> Sandbox:
        answer = self._call("PodSandboxStatus", {1: identity, 2: 1})
        (address,) = all_of(answer, 1, 5, 1)
        facts = {key.decode(): value for key, value in map(_entry, all_of(answer, 2))}
        spec: dict[str, Any] = json.loads(facts["info"])["runtimeSpec"]
        paths = [one["path"] for one in spec["linux"]["namespaces"] if one["type"] == "network"]
        return Sandbox(identity, address.decode(), Path(paths[0]))

    def sandboxes(self) -> list[str]:
        """The ids of all pods."""
        return [one.decode() for one in all_of(self._call("ListPodSandbox", {}), 1, 1)]

    def remove(self, identity: str) -> None:
        """Stop the pod, which frees its address, and forget it. Raises grpc.RpcError."""
        self._call("StopPodSandbox", {1: identity})
        self._call("RemovePodSandbox", {1: identity})


def _entry(data: bytes) -> tuple[bytes, bytes]:
    """Key and value of a map's entry."""
    said = dict(_fields(data))
    key, value = said[1], said[2]
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    return key, value


def container_config(container: Mapping[str, Any], folders: Mapping[str, Path], *, log: str) -> Message:
    """A container of a pod's description, as a kubelet says it to the runtime."""
    confined = container["securityContext"]
    powers: Message = {1: confined["capabilities"]["add"], 2: confined["capabilities"]["drop"]}
    mounts: list[Message] = [
        {1: one["mountPath"], 2: str(folders[one["name"]]), 3: int(one.get("readOnly", False))}
        for one in container["volumeMounts"]
    ]
    security: Message = {
        1: powers,
        2: int(confined["privileged"]),
        3: {1: ON_THE_HOST},
        5: {1: confined["runAsUser"]},
        7: int(confined["readOnlyRootFilesystem"]),
        11: int(not confined["allowPrivilegeEscalation"]),
        14: READ_ONLY,
        15: {1: 0},  # the runtime's default filter of system calls
    }
    variables: list[Message] = [{1: name, 2: value} for name, value in container.get("env", {}).items()]
    return {
        1: {1: container["name"]},
        2: {1: container["image"]},
        4: container["args"],
        6: variables,
        7: mounts,
        10: log,
        15: {2: security},
    }
