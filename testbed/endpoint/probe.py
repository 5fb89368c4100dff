"""What this kernel, in this network namespace, can do for an endpoint, with the reason when it cannot.

Source: the errno table of the MPTCP project's documentation, net/mptcp/ctrl.c and net/socket.c: socket(2) for
IPPROTO_MPTCP fails with EINVAL before Linux 5.6 (the number is out of range), with EPROTONOSUPPORT when MPTCP is not
built in, and with ENOPROTOOPT when net.mptcp.enabled is 0 in the namespace.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

from testbed.endpoint.kernel_state import IPPROTO_MPTCP

_SYSCTL = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something can be had here."""

    available: bool
    reason: str = ""
    """Why not; empty when available."""
    remedy: str = ""
    """How to get it."""


def probe(implementation: str, family: int = 4) -> Verdict:
    """Whether sockets of an implementation (``linux``, ``linux-tcp``) can be made in this namespace."""
    domain = socket.AF_INET6 if family == 6 else socket.AF_INET
    protocol = IPPROTO_MPTCP if implementation == "linux" else socket.IPPROTO_TCP
    try:
        socket.socket(domain, socket.SOCK_STREAM, protocol).close()
    except OSError as error:
        return explain(error.errno or 0, family)
    return Verdict(True)


def explain(number: int, family: int = 4) -> Verdict:
    """What the error number of a failed socket(2) means."""
    if number == errno.EINVAL:
        return Verdict(False, "this kernel is too old for MPTCP", "boot Linux 5.6 or later, better 6.6")
    if number == errno.EPROTONOSUPPORT:
        return Verdict(False, "this kernel was built without MPTCP", "boot a kernel with CONFIG_MPTCP=y")
    if number == errno.ENOPROTOOPT:
        return Verdict(False, "MPTCP is switched off in this network namespace", "sysctl net.mptcp.enabled=1")
    if number == errno.EAFNOSUPPORT:
        return Verdict(False, f"this kernel has no IPv{family}", "boot a kernel with CONFIG_IPV6=y")
    return Verdict(False, f"socket(2) failed with {errno.errorcode.get(number, number)}", "see socket(2)")


def probe_congestion_control(name: str) -> Verdict:
    """Whether a TCP connection of this namespace can use a congestion control."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
        except OSError as error:
            known = _words("ipv4/tcp_available_congestion_control")
            if error.errno == errno.EPERM:
                return Verdict(
                    False,
                    f"congestion control {name} is only for root here",
                    "run as root, or add it to net.ipv4.tcp_allowed_congestion_control",
                )
            return Verdict(
                False,
                f"this kernel has no congestion control {name}, only {', '.join(known)}",
                f"modprobe tcp_{name}, or choose another",
            )
    return Verdict(True)


def probe_scheduler(name: str) -> Verdict:
    """Whether MPTCP's packet scheduler of that name is there."""
    known = _words("mptcp/available_schedulers")
    if not known:
        return Verdict(False, "this kernel has no choice of schedulers", "boot Linux 6.6 or later")
    if name not in known:
        return Verdict(
            False, f"this kernel has no MPTCP scheduler {name}, only {', '.join(known)}", "load its BPF program first"
        )
    return Verdict(True)


def _words(path: str) -> list[str]:
    file = _SYSCTL / path
    return file.read_text().split() if file.exists() else []
