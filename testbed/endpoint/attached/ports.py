"""Local TCP ports for connections that the kernel does not make, held so that no kernel socket gets one of them.

A port is held by a kernel socket that is bound to it and does nothing: other programs, and other endpoints of ours in
the same network namespace, then find it in use. The block lies outside the range from which the kernel takes ports by
itself (net.ipv4.ip_local_port_range), so the kernel's own choice is not narrowed. Nothing global is set, and the end of
the process, however it comes, gives the ports back.
"""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

from testbed.endpoint.attached.port_filter import PortRange

CLIENT_PORTS = 64
"""Of a block: more than the subflows that one process opens at a time; ports in TIME_WAIT included."""

_FIRST_FREE = 10_240
"""Below are services."""
_ATTEMPTS = 64


class PortsError(OSError):
    """Ports are in use; the message says which."""


class HeldPorts:
    """A run of ports that belong to this process until :meth:`close`."""

    def __init__(self, first: int, count: int = 1) -> None:
        self.range: PortRange = (first, first + count - 1)
        self._sockets: list[socket.socket] = []
        try:
            for port in range(first, first + count):
                self._hold(port)
        except OSError as error:
            self.close()
            if error.errno == errno.EACCES:
                raise PortsError(error.errno, f"port {first}: not permitted") from error
            raise PortsError(error.errno, f"port {port} is in use in this network namespace") from error

    def close(self) -> None:
        """Give them back."""
        for held in self._sockets:
            held.close()
        self._sockets.clear()

    def _hold(self, port: int) -> None:
        if socket.has_ipv6:
            try:
                dual = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    raise
            else:
                self._sockets.append(dual)
                dual.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                dual.bind(("::", port))
                return
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sockets.append(plain)
        plain.bind(("0.0.0.0", port))


def hold_client_ports(rng: random.Random, count: int = CLIENT_PORTS) -> HeldPorts:
    """A free block outside the kernel's range. Raises PortsError when none was found."""
    low, high = kernel_port_range()
    starts = [start for start in range(_FIRST_FREE, 65_536 - count, count) if start + count <= low or start > high]
    if not starts:
        raise PortsError(
            errno.EADDRINUSE, "net.ipv4.ip_local_port_range leaves no ports for an endpoint that is not the kernel's"
        )
    for start in rng.sample(starts, min(len(starts), _ATTEMPTS)):
        try:
            return HeldPorts(start, count)
        except PortsError:
            continue
    raise PortsError(errno.EADDRINUSE, f"no free block of {count} ports outside {low}-{high} in this network namespace")


def kernel_port_range() -> PortRange:
    """net.ipv4.ip_local_port_range of this network namespace."""
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(low), int(high)
