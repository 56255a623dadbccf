"""A network namespace without a name, held by a file descriptor, and what can be done inside it.

All of the fabric stands on it. One thread of our own, the *mover*, enters a namespace, does a short piece
of work there (start a process, open a socket, write a sysctl) and waits for the next. No other thread ever
moves, so any thread may call. The mover lives as long as the process, because the kernel sends a child's
parent-death signal when the *thread* that started it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Self, TypeAlias, TypeVar

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

ADMIN_PATH = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin"
"""Where ``ip``, ``nft`` and the plugins' own tools are; an ordinary user's PATH may lack sbin."""

_Result = TypeVar("_Result")
_Stdio: TypeAlias = int | IO[bytes] | None

_libc = ctypes.CDLL(None, use_errno=True)


class ToolFailed(Exception):
    """A command of the fabric's own (``ip``, ``nft``) was refused: what was asked, and its answer."""


def unshare(flags: int) -> None:
    """Give the calling thread namespaces of its own (``os.unshare`` is 3.12's). Raises OSError."""
    if _libc.unshare(flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def setns(descriptor: int) -> None:
    """Move the calling thread into the network namespace *descriptor*. Raises OSError."""
    if _libc.setns(descriptor, CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _own_descriptor() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@functools.cache
def _mover() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns-mover")


os.register_at_fork(after_in_child=_mover.cache_clear)  # a fork takes the executor along, not its thread


def new_namespace() -> Namespace:
    """A namespace with nothing in it but loopback, down. Raises OSError where that is refused."""

    def create() -> int:
        unshare(CLONE_NEWNET)
        return _own_descriptor()

    return Namespace(_mover().submit(create).result())


def this_namespace() -> Namespace:
    """The namespace that the calling thread is in."""
    return Namespace(_own_descriptor())


class Process(subprocess.Popen[bytes]):
    """A process inside a namespace, head of a process group of its own."""

    def end(self) -> None:
        """Kill it and its group, and reap it; nothing happens if it has ended already."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """Stop it where it is, group and all; it does not notice. Raises ProcessLookupError."""
        os.killpg(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on. Raises ProcessLookupError."""
        os.killpg(self.pid, signal.SIGCONT)


class Namespace:
    """One network namespace; freed when it is closed and nothing inside it lives any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._processes: list[Process] = []
        self._listeners: list[socket.socket] = []

    @property
    def path(self) -> str:
        """A path under which other processes of the same user can open the namespace."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def call(self, work: Callable[[], _Result]) -> _Result:
        """What *work* returns, done inside; it must be short, for everybody shares the mover."""

        def inside() -> _Result:
            setns(self.descriptor)
            return work()

        return _mover().submit(inside).result()

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of this namespace, in whatever thread it is used."""
        return self.call(lambda: socket.socket(family, kind, protocol))

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket; closing the namespace shuts it down (its accept() then fails).

        The caller closes it. Port 0 picks a free one.
        """
        server = self.open_socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen(128)
        self._listeners.append(server.dup())
        return server

    def sysctl(self, name: str, value: int | str) -> None:
        """Set *name*, dots or slashes, for example ``net.ipv4.ip_forward``. Raises OSError."""
        path = Path("/proc/sys", name if "/" in name else name.replace(".", "/"))
        self.call(lambda: path.write_text(f"{value}\n"))

    def popen(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: _Stdio = subprocess.DEVNULL,
        stdout: _Stdio = None,
        stderr: _Stdio = None,
        pass_fds: Sequence[int] = (),
    ) -> Process:
        """Start a process inside that dies with us, even if we are killed, and with the namespace.

        ``setpriv`` asks the kernel for the parent-death signal: doing so between fork and exec in
        Python can hang when the parent has threads.
        """
        process = self.call(
            lambda: Process(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        )
        self._processes = [*(other for other in self._processes if other.poll() is None), process]
        return process

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        text: str = "",
        env: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside with *text* as its input, to its end, *timeout* seconds at most.

        Raises subprocess.TimeoutExpired, having killed it. The caller judges a failure.
        """
        pipe = subprocess.PIPE
        process = self.popen(argv, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, err = process.communicate(text.encode(), timeout=timeout)
        finally:
            process.end()
        return subprocess.CompletedProcess(
            list(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )

    def tool(self, *argv: str, text: str = "") -> str:
        """The output of one of the fabric's own commands. Raises ToolFailed with its complaint."""
        done = self.run(argv, text=text, env={"PATH": ADMIN_PATH, "LC_ALL": "C"})
        if done.returncode:
            raise ToolFailed(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}\n{text[:2000]}")
        return done.stdout

    def ip(self, *lines: str) -> None:
        """Run ``ip`` commands, one process for all. Raises ToolFailed at the first refused."""
        if lines:
            self.tool("ip", "-batch", "-", text="\n".join(lines) + "\n")

    def nft(self, script: str) -> None:
        """Apply an nftables script as one transaction. Raises ToolFailed."""
        self.tool("nft", "-f", "-", text=script)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its processes, shut its listeners down and let the namespace go; twice is fine."""
        for process in self._processes:
            process.end()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._processes, self._listeners = [], []
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
