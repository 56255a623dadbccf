"""Runs the handlers of ``functions/`` in this process, as Lambda would.

The lab uses it unless the stack is deployed by SAM. All functions share this process's environment
variables, so theirs must agree.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podway import bootstrap

from podway_lab.stack import signing
from podway_lab.stack.deploy import Credentials, Stack
from podway_lab.stack.functions import Payload, Ran
from podway_lab.stack.output import InvocationOutput
from podway_lab.stack.template import FunctionSpec, Place

Handler = Callable[[Any, Any], Any]

NOBODY = "nobody"
"""The function name under which calls are logged that no invocation makes."""

_COLD_START = threading.Lock()
"""Handlers build their clients when they first run, and boto3's default session is not made to be
used by several threads at once. In Lambda each function has a process of its own."""


class ConflictingEnvironment(ValueError):
    """Two functions want different values of one variable; one process cannot give them both."""


@dataclass(frozen=True, slots=True)
class LambdaContext:
    """What Lambda tells a handler of its invocation."""

    function_name: str
    memory_limit_in_mb: int
    invoked_function_arn: str
    aws_request_id: str
    deadline: float
    """On ``time.monotonic``."""
    function_version: str = "$LATEST"
    log_group_name: str = "/podway/lab"
    log_stream_name: str = "lab"

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.monotonic()) * 1000))


class InProcess:
    """An environment in this process: the handler, imported from its file."""

    def __init__(self, spec: FunctionSpec, host: InThisProcess, credentials: Credentials) -> None:
        self._spec = spec
        self._host = host
        self._credentials = credentials
        self._handler: Handler | None = None
        self.caller = credentials.owner
        self.warm = False

    def start(self) -> None:
        """Imports the handler. Raises whatever the import raises."""
        self._handler = load_handler(self._host.sources, self._spec)

    def stop(self) -> None:
        """Forget what was built: the next event builds it anew. The process is the lab's and goes on."""
        self._host.forget()

    def run(self, event: Payload) -> Ran:
        begun = time.monotonic()
        self._host.output.begin()
        error, result = self._attempt(event, self._context(begun))
        if not error and time.monotonic() - begun > self._spec.timeout:
            error = f"Task timed out after {self._spec.timeout} seconds"
        return Ran(error, result, self._host.output.end())

    def _attempt(self, event: Payload, context: LambdaContext) -> tuple[str, Any]:
        """What went wrong, if anything, and what the handler returned."""
        assert self._handler is not None, "start() comes first"
        try:
            with signing.by(self._credentials), nullcontext() if self.warm else _COLD_START:
                result = self._handler(event, context)
        except Exception as failure:  # noqa: BLE001  (Lambda survives all that a handler raises)
            return "".join(traceback.format_exception_only(failure)).strip(), None
        self.warm = True
        return "", result

    def _context(self, begun: float) -> LambdaContext:
        name = f"{self._host.place.stack}-{self._spec.name}"
        return LambdaContext(
            function_name=name,
            memory_limit_in_mb=self._spec.memory,
            invoked_function_arn=self._host.place.arn("lambda", f"function:{name}"),
            aws_request_id=str(uuid.uuid4()),
            deadline=begun + self._spec.timeout,
        )


def load_handler(sources: Path, spec: FunctionSpec) -> Handler:
    """The function's handler, imported from its file under a name of its own."""
    file, attribute = spec.handler.split(".")
    path = sources / spec.folder / f"{file}.py"
    found = importlib.util.spec_from_file_location(f"podway_functions_{Path(spec.folder).name}", path)
    if found is None or found.loader is None:
        raise FileNotFoundError(f"{spec.name} has no code at {path}")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    handler: Handler = getattr(module, attribute)
    return handler


def shared_environment(specs: Iterable[FunctionSpec]) -> dict[str, str]:
    """The variables of all functions. Raises ConflictingEnvironment where two disagree."""
    union: dict[str, str] = {}
    for spec in specs:
        for name, value in spec.environment.items():
            if union.setdefault(name, value) != value:
                raise ConflictingEnvironment(f"{name}: {spec.name} wants {value!r}, another {union[name]!r}")
    return union


class ProcessEnvironment:
    """Puts variables into this process for a time; the values of before come back.

    It puts aside what is set of Podway's already, such as the operator's ``PODWAY_TABLE``: a function has no
    variables but its own.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._before: dict[str, str | None] = {}

    def enter(self) -> None:
        others = {name for name in os.environ if name.startswith("PODWAY_")}
        self._before = {name: os.environ.get(name) for name in others | self._variables.keys()}
        for name in others:
            del os.environ[name]
        os.environ.update(self._variables)

    def leave(self) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before = {}


class InThisProcess:
    """Hosts all functions of a stack in this process, one event at a time each."""

    def __init__(
        self, stack: Stack, sources: Path, credentials: Callable[[str], Credentials] = Credentials
    ) -> None:
        """The handlers' paths start from *sources*; *credentials* makes those of a caller by its name."""
        self.place = stack.place
        self.sources = sources
        self._credentials = credentials
        self._environments: list[InProcess] = []
        self._environment = ProcessEnvironment(
            surroundings(stack.place, credentials(NOBODY)) | shared_environment(stack.functions().values())
        )
        self.output = InvocationOutput()

    def enter(self) -> None:
        self._environment.enter()
        signing.stand_by()
        self.output.stand_in()
        bootstrap.forget()

    def leave(self) -> None:
        self.output.step_back()
        signing.step_back()
        self._environment.leave()
        bootstrap.forget()

    def environments(self, spec: FunctionSpec) -> tuple[InProcess]:
        environment = InProcess(spec, self, self._credentials(spec.name))
        self._environments.append(environment)
        return (environment,)

    def set_variables(self, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)  # leaving brings back what was there before

    def forget(self) -> None:
        """Let all functions start cold: they share what `bootstrap` has built."""
        with _COLD_START:
            bootstrap.forget()
            for environment in self._environments:
                environment.warm = False


def surroundings(place: Place, credentials: Credentials) -> dict[str, str]:
    """The variables that Lambda itself sets for a function, and the endpoint of the lab's region."""
    return {
        "AWS_ENDPOINT_URL": place.endpoint,
        "AWS_REGION": place.region,
        "AWS_DEFAULT_REGION": place.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token,
    }
