"""Kernel parameters of a network namespace: set, then read back.

``/proc/sys/net`` shows the namespace of the thread that opens it, so these functions are called inside the namespace
(:func:`testbed.orchestrator.namespaces.inside`). A value that did not stick is an error with both values: the kernel
rounds, clamps and sometimes ignores. A name that this kernel does not have (of a congestion control, of a scheduler) is
Unsupported instead, with the names that it has. Sources: proc_sys(5), Documentation/networking/{ip,mptcp}-sysctl.rst.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from testbed.orchestrator.errors import InvalidTrial, Unsupported

_ROOT = Path("/proc/sys")

GLOBAL_ONLY = (
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.rmem_default",
    "net.core.wmem_default",
    "net.core.netdev_max_backlog",
    "net.core.netdev_budget",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_allowed_congestion_control",
    "net.ipv4.tcp_available_congestion_control",
)
"""Parameters under ``net`` that no namespace has for itself: absent or read-only there (a selection, for the
message)."""

AVAILABLE: Mapping[str, str] = {
    "net.ipv4.tcp_congestion_control": "net.ipv4.tcp_available_congestion_control",
    "net.mptcp.scheduler": "net.mptcp.available_schedulers",
    "net.mptcp.path_manager": "net.mptcp.available_path_managers",
}
"""Parameter whose value names a part of the kernel -> the parameter that lists those that are there."""

_REMEDIES: Mapping[str, str] = {
    "net.ipv4.tcp_congestion_control": "load its module (modprobe tcp_NAME)",
    "net.mptcp.scheduler": "load its BPF program",
    "net.mptcp.path_manager": "boot a kernel that has it",
}


class SysctlError(InvalidTrial):
    """A parameter could not be set, or holds another value than the one written."""


def read(key: str) -> str:
    """The value of ``key`` in the namespace of the calling thread, its white space made single blanks."""
    try:
        return " ".join(_path(key).read_text().split())
    except FileNotFoundError:
        raise Unsupported(f"sysctl {key} does not exist{_why_absent(key)}") from None


def write(key: str, value: str) -> None:
    """Set ``key`` and read it back.

    Raises SysctlError when the kernel refuses or holds another value; Unsupported when the parameter does not exist
    here, or its value names a congestion control, scheduler or path manager that cannot be had here.
    """
    wanted = " ".join(value.split())
    path = _path(key)
    if not path.exists():  # asked first, for the kernel also says ENOENT for a value that names nothing
        raise Unsupported(f"sysctl {key} does not exist{_why_absent(key)}")
    try:
        with path.open("w") as file:
            file.write(wanted)
    except OSError as error:
        if key in AVAILABLE and error.errno in (errno.ENOENT, errno.EINVAL, errno.EPERM):
            raise Unsupported(f"sysctl {key} cannot be set to {wanted!r}: {_why_not_had(key, wanted)}") from None
        raise SysctlError(f"sysctl {key} cannot be set to {wanted!r}: {error.strerror}") from None
    held = read(key)
    if held != wanted:
        raise SysctlError(f"sysctl {key} was set to {wanted!r} and holds {held!r}")


def write_all(values: Mapping[str, str]) -> None:
    """:func:`write` for each, in order."""
    for key, value in values.items():
        write(key, value)


def _path(key: str) -> Path:
    if not key or "/" in key or ".." in key:
        raise SysctlError(f"sysctl {key!r} is not a name such as net.ipv4.ip_forward")
    return _ROOT / key.replace(".", "/")


def _why_absent(key: str) -> str:
    if key in GLOBAL_ONLY:
        return ": it belongs to the whole machine, not to a network namespace"
    if key.startswith("net.mptcp."):
        return " in this kernel: it is built without MPTCP or is older than this parameter"
    return " in this kernel"


def _why_not_had(key: str, wanted: str) -> str:
    """What there is instead, and how to get the wanted one. A namespace may set fewer congestion controls than are."""
    known = read(AVAILABLE[key]).split()
    if wanted not in known:
        return f"this kernel has no such one, only {', '.join(known)}; {_REMEDIES[key].replace('NAME', wanted)}"
    if key == "net.ipv4.tcp_congestion_control":
        allowed = ", ".join(read("net.ipv4.tcp_allowed_congestion_control").split())
        return (
            f"a namespace may set only allowed ones: {allowed}; allow it for the machine with"
            " sysctl net.ipv4.tcp_allowed_congestion_control, or choose it per socket with TCP_CONGESTION"
        )
    return "the kernel refuses it although it lists it"
