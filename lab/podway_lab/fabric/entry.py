"""How a process comes to own network namespaces: as root, or as root of a user namespace of its own.

The command calls `enter` once, and so do the longer tests; other tests call `gain_privileges` and stay where
they are.
"""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

from podway_lab.fabric.cni import PLUGIN_PATH
from podway_lab.fabric.namespace import (
    ADMIN_PATH,
    CLONE_NEWNET,
    CLONE_NEWUSER,
    ToolFailed,
    new_namespace,
    this_namespace,
    unshare,
)
from podway_lab.fabric.router import KEEP_TTL

TOOLS = {
    "ip": "iproute2",
    "nft": "nftables",
    "iptables-nft-restore": "iptables",
    "setpriv": "util-linux",
    "ptp": "containernetworking-plugins",
    "host-local": "containernetworking-plugins",
}
"""The commands the fabric runs, and the Debian package of each."""

PROBE = """\
link add name probe0 type bridge
link add name probe1 type veth peer name probe2
link set probe1 master probe0
rule add pref 1000 iif probe0 lookup 1000
route replace blackhole 192.0.2.0/24 table 1000
"""

PROBE_FILTER = """
table netdev probe {
  set flows {
    typeof ip saddr . th sport
    flags dynamic,timeout
    size 16
  }
  chain leaving {
    type filter hook egress device probe1 priority 0
    ether type ip ip daddr != 192.0.2.1 drop
    meta l4proto tcp update @flows { ip saddr . th sport timeout 500ms }
  }
}
table inet probe {
  chain raw {
    type filter hook prerouting priority raw
    counter notrack
  }
}
"""

WORKS = "works"
"""What the child of the try-out answers when nothing is in the way."""

CAP_SYS_ADMIN = 21
"""Its bit in the sets that /proc shows (capabilities(7))."""

RESTRICTIONS = {
    "/proc/sys/user/max_user_namespaces": "0",
    "/proc/sys/kernel/unprivileged_userns_clone": "0",
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
}
"""Settings that keep ordinary users from making user namespaces, and the value that does."""


class NoNamespaces(Exception):
    """The machine lets us have no network of our own; the message says what is in the way."""


def enter() -> None:
    """Move the calling thread, and the threads it starts later, into a new network namespace.

    Call it once, early, while there is one thread. Raises NoNamespaces, having moved nothing.
    """
    gain_privileges()
    try:
        unshare(CLONE_NEWNET)
    except OSError as error:
        raise NoNamespaces(f"the kernel refuses a network namespace: {error.strerror}") from error
    with this_namespace() as home:
        home.ip("link set lo up")


def gain_privileges() -> None:
    """Make sure that this process may make namespaces, as an ordinary user in a user namespace.

    As root it only looks. Otherwise the process becomes root of a user namespace of its own: there
    must be one thread, and files keep their owners. Raises NoNamespaces with the reason; what the
    fabric needs is tried out in a child first, so that the caller can then go on as it was.
    """
    check_tools()
    administrator = _is_administrator()
    if complaint := _try_out() if administrator else _try_in_child():
        raise NoNamespaces(complaint)
    if not administrator:
        _become_root()


def _is_administrator() -> bool:
    """Whether we hold CAP_SYS_ADMIN; root in a container often does not."""
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_ADMIN & 1)


def check_tools() -> None:
    """Raises NoNamespaces, naming the Debian packages, where a command is missing."""
    path = f"{ADMIN_PATH}:{PLUGIN_PATH}"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise NoNamespaces(f"commands are missing: {', '.join(missing)} (Debian: apt-get install {packages})")


def _become_root() -> None:
    user, group = os.geteuid(), os.getegid()
    if threading.active_count() > 1:
        raise NoNamespaces("a process with threads cannot enter a user namespace: enter earlier")
    try:
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as error:
        raise NoNamespaces(
            f"no privileges, and the kernel refuses a user namespace: {error.strerror}{_restrictions()}"
        ) from error


def _restrictions() -> str:
    found = [
        f"{path} is {value}"
        for path, value in RESTRICTIONS.items()
        if Path(path).exists() and Path(path).read_text().strip() == value
    ]
    return f" ({', '.join(found)})" if found else ""


def _try_in_child() -> str:
    """What keeps a child of ours from building a small fabric; empty when nothing does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, (_try_out_as_root() or WORKS).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        complaint = answer.read().decode()
    os.waitpid(child, 0)
    return "" if complaint == WORKS else complaint or "the try-out in a child crashed"


def _try_out_as_root() -> str:
    try:
        _become_root()
    except NoNamespaces as error:
        return str(error)
    return _try_out()


def _try_out() -> str:
    try:
        with new_namespace() as trial:
            trial.ip(*PROBE.splitlines())
            trial.nft(PROBE_FILTER)
            trial.tool("iptables-nft-restore", "--noflush", text=KEEP_TTL)
    except OSError as error:
        return f"the kernel refuses a network namespace: {error.strerror}"
    except ToolFailed as error:
        return f"the kernel lacks something that the fabric needs: {error}"
    return ""
