"""A function under Lambda's real runtime: the interface emulator that the SAM CLI brings, and Python 3.13.

One emulator is one execution environment. It must not be asked for two things at once (it falls over a nil
pointer), starts its runtime with the first event, and restarts it after a timeout or an exit, as Lambda does.
The emulator itself may die too, above all on a loaded machine. If it does so before it has answered, the same
event starts it again. Called by `UnderEmulator`, which hosts a deployed stack's functions.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podway_lab.stack.functions import Payload, Ran
from podway_lab.stack.template import FunctionSpec

_INVOKE = "/2015-03-31/functions/function/invocations"
_UP_SECONDS = 60.0
"""How long an emulator may take to listen; one that dies is noticed at once."""
_GRACE_SECONDS = 60.0
"""How long beyond its function's timeout an emulator may be silent: a cold start does not count."""
_LIVES = 3
"""How often an emulator is started for one event, if it dies before it has answered."""
_TAIL_LINES = 15
"""How much of the log goes into the error of an emulator that died."""

_MOUNTED = """\
set -e
mount -t tmpfs podway "$1" && mkdir "$1/task"
mount --bind "$2" "$1/task" && mount -o remount,bind,ro "$1/task"
mount --rbind "$1" /var
mount --bind "$3" /opt && mount -o remount,bind,ro /opt
cd /var/task
shift 3
exec "$@"
"""
"""What runs in a mount namespace of its own: code at /var/task, layers at /opt, both read-only."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The programs: the emulator, and a Python 3.13 with Lambda's runtime client."""

    emulator: Path
    python: Path

    def hidden_by_mounts(self) -> bool:
        """Whether a mount at /opt or /var would hide one of them (or the interpreter behind a venv)."""
        places = (self.emulator, self.python, self.emulator.resolve(), self.python.resolve())
        return any(place.is_relative_to(root) for place in places for root in ("/opt", "/var"))


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A function's code, and its layers laid over each other, as folders; *mounts* takes a mount point."""

    code: Path
    layers: Path
    mounts: Path


class _Died(Exception):
    """The emulator is gone, and nothing of an answer has been seen."""


class Emulated:
    """One execution environment of a function."""

    def __init__(
        self,
        spec: FunctionSpec,
        runtime: Runtime,
        unpacked: Unpacked,
        *,
        caller: str,
        variables: Mapping[str, str],
        log: Path,
        with_mounts: bool,
    ) -> None:
        self._spec = spec
        self._runtime = runtime
        self._unpacked = unpacked
        self._variables = variables
        self._log = log
        self._with_mounts = with_mounts and not runtime.hidden_by_mounts()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._read = 0
        self.caller = caller
        self.starts = 0
        """How often the emulator was started: each of them one cold start at least."""
        self.deaths = 0
        """How often it died before it had answered."""

    def start(self) -> None:
        """Nothing: the first event starts it, on the thread that it must not outlive."""

    def set_variables(self, variables: Mapping[str, str]) -> None:
        """Other values of variables, from the next start on."""
        self._variables = {**self._variables, **variables}

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, event: Payload) -> Ran:
        """Run the handler on *event*.

        An answer stands, whatever it says. Only an emulator that died without one gets the event again.
        """
        body = json.dumps(event).encode()
        reasons: list[str] = []
        while len(reasons) < _LIVES:
            try:
                error, result = _outcome(*self._ask(body))
            except _Died as death:
                reasons.append(self._bury(death))
            except (OSError, http.client.HTTPException) as failure:
                self.stop()
                return Ran(f"the emulator failed: {failure!r}", None, self._printed())
            else:
                return Ran(error, result, self._printed())
        printed = self._printed()
        tail = "\n".join(printed.splitlines()[-_TAIL_LINES:])
        return Ran(f"{_died(len(reasons))}: {'; '.join(reasons)}\n{tail}", None, printed)

    def _ask(self, body: bytes) -> tuple[int, bytes]:
        """Raises `_Died` only as long as nothing of an answer has come; else what the connection raises.

        An answer that says neither how long it is nor that it comes in chunks was cut off in its head.
        """
        if self._process is None or self._process.poll() is not None:
            self._launch()
        patience = self._spec.timeout + _GRACE_SECONDS
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=patience)
        with contextlib.closing(connection):
            try:
                connection.request("POST", _INVOKE, body, {"Content-Type": "application/json"})
                assert connection.sock is not None, "it is connected"
                begun = connection.sock.recv(1, socket.MSG_PEEK)
            except ConnectionError as cut:
                raise _Died(repr(cut)) from cut
            if not begun:
                raise _Died("it closed the connection")
            answer = connection.getresponse()
            if answer.length is None and not answer.chunked:
                raise http.client.HTTPException("the answer was cut off in its head")
            return answer.status, answer.read()

    def _bury(self, death: _Died) -> str:
        """Count the death and write it into the log, where it is printed with what came before and after."""
        self.stop()
        self.deaths += 1
        with self._log.open("a") as log:
            log.write(f"{_died(1)}: {death}\n")
        return str(death)

    def _launch(self) -> None:
        self._port, runtime_port = _free_ports()
        command = [
            str(self._runtime.emulator),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{runtime_port}",
            str(self._runtime.python),
            "-m",
            "awslambdaric",
            self._spec.handler,
        ]
        self.starts += 1
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._wrapping(), *command],
                cwd=self._unpacked.code,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._await_port()

    def _wrapping(self) -> list[str]:
        """Dies with the thread that started it, and takes along all that it started."""
        dying = ["setpriv", "--pdeathsig", "KILL", "--"]
        if not self._with_mounts:
            return dying
        places = (self._unpacked.mounts, self._unpacked.code, self._unpacked.layers)
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--"]
        return [*dying, *apart, "sh", "-c", _MOUNTED, "sh", *map(str, places)]

    def _environment(self) -> dict[str, str]:
        """What Lambda sets (developer guide, "Defined runtime environment variables"), and the rest."""
        task, layers = ("/var/task", "/opt") if self._with_mounts else _paths(self._unpacked)
        spec = self._spec
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": f"{layers}/python/lib/python3.13/site-packages:{layers}/python",
            "LAMBDA_TASK_ROOT": task,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(spec.timeout),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            **spec.environment,
            **self._variables,
        }

    def _await_port(self) -> None:
        end = time.monotonic() + _UP_SECONDS
        while time.monotonic() < end:
            assert self._process is not None
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise _Died("it does not listen")

    def _printed(self) -> str:
        """What was logged since the last call."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            news = log.read()
        self._read += len(news)
        return news.decode(errors="replace")


def _died(times: int) -> str:
    return f"the environment died before it answered, {times} time{'s' * (times > 1)}"


def _paths(unpacked: Unpacked) -> tuple[str, str]:
    return str(unpacked.code), str(unpacked.layers)


def _outcome(status: int, body: bytes) -> tuple[str, Any]:
    """The emulator answers 200 for a handler's exception too, and plain text for a timeout."""
    text = body.decode(errors="replace")
    try:
        result = json.loads(text) if text else None
    except ValueError:
        return text, None
    if isinstance(result, dict) and "errorMessage" in result:
        return f"{result.get('errorType', 'Error')}: {result['errorMessage']}", None
    if status != http.HTTPStatus.OK:
        return f"HTTP {status}: {text}", None
    return "", result


def _free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on at present."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
