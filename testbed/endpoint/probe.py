"""What this kernel, in this network namespace, can do for an endpoint, with the reason when it cannot.

Source: the errno table of the MPTCP project's documentation, net/mptcp/ctrl.c and net/socket.c: socket(2) for
IPPROTO_MPTCP fails with EINVAL before Linux 5.6 (the number is out of range), with EPROTONOSUPPORT when MPTCP is not
built in, and with ENOPROTOOPT when net.mptcp.enabled is 0 in the namespace.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from testbed.endpoint.kernel_state import IPPROTO_MPTCP


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
