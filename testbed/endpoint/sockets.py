"""Makes the sockets that an Endpoint describes, and reads back what the kernel made of the wishes.

Sources: socket(7), tcp(7), net/mptcp/sockopt.c. Congestion control and buffer sizes are set on the MPTCP socket, which
hands them to each subflow; a listening socket hands them to what it accepts. All before the connection: a buffer that
is set later cannot change the window scale any more.
"""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from testbed.endpoint.kernel_state import IPPROTO_MPTCP, in_mptcp, is_mptcp, read_connection
from testbed.endpoint.parameters import Endpoint
from testbed.endpoint.protocol import InForce
from testbed.endpoint.tcp_info import OPTION_ECN, OPTION_SACK, OPTION_TIMESTAMPS, OPTION_WSCALE

IP_BIND_ADDRESS_NO_PORT = 24
"""ip(7): the port is chosen at connect(2), so that many connections can leave from one address."""

SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
"""socket(7): as SO_SNDBUF and SO_RCVBUF, past the limit of the machine; with CAP_NET_ADMIN."""

_SYSCTLS = {
    "checksum": "net/mptcp/checksum_enabled",
    "timestamps": "net/ipv4/tcp_timestamps",
    "sack": "net/ipv4/tcp_sack",
    "scheduler": "net/mptcp/scheduler",
}


class Unsupported(Exception):
    """This machine cannot do what was asked; the message says what and how to get it."""


def check_host(endpoint: Endpoint) -> dict[str, str | None]:
    """Host-wide settings in force in this namespace, by the parameter's name; None: this kernel has no such setting.

    They are set by whoever made the host. Raises Unsupported when one is not as the endpoint wants it.
    """
    in_force = {}
    for name, path in _SYSCTLS.items():
        file = Path("/proc/sys") / path
        value = file.read_text().strip() if file.exists() else None
        in_force[name] = value
        wanted = getattr(endpoint, name)
        if wanted is None or (name in ("checksum", "scheduler") and endpoint.implementation != "linux"):
            continue
        if value is None or value != (wanted if isinstance(wanted, str) else str(int(wanted))):
            raise Unsupported(
                f"{path.replace('/', '.')} is {value} in this host, but the endpoint wants {name} = {wanted}: "
                "set it before the endpoint starts"
            )
    return in_force


def make_socket(endpoint: Endpoint, family: int) -> socket.socket:
    """A non-blocking socket with the endpoint's options. Raises Unsupported, naming what the kernel refused."""
    domain = socket.AF_INET6 if family == 6 else socket.AF_INET
    protocol = IPPROTO_MPTCP if endpoint.implementation == "linux" else socket.IPPROTO_TCP
    try:
        sock = socket.socket(domain, socket.SOCK_STREAM, protocol)
    except OSError as error:
        raise Unsupported(f"the kernel gives no {endpoint.implementation} socket for IPv{family}: {error}") from None
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set_options(sock, endpoint)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_client(sock: socket.socket, address: str | None, port: int) -> None:
    """Bind to a source address, keeping the choice of the port for connect(2) when it is 0. Raises OSError."""
    if address is None and not port:
        return
    if not port:
        try:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        except OSError as error:  # MPTCP sockets know the option since Linux 6.?; without it bind(2) takes a port
            if error.errno not in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
                raise
    sock.bind((address or "", port))


def implementation_in_force(sock: socket.socket, asked_for: str) -> InForce:
    """What a connected socket really is."""
    if asked_for == "linux":
        return "linux" if in_mptcp(sock) else "fallback"
    return "linux-tcp"


def options_in_force(sock: socket.socket) -> dict[str, str | int | bool | None]:
    """Options of a connected socket, read back; the negotiated ones are those of the first subflow."""
    buffer_sizes = {
        "send_buffer_bytes": sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        "receive_buffer_bytes": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
    }
    congestion = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()
    state = read_connection(sock)
    options = state.subflows[0].tcp_info["options"] if state.subflows else None
    in_force: dict[str, str | int | bool | None] = {
        "mptcp_socket": is_mptcp(sock),
        "congestion_control": congestion,
        "nodelay": bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)),
        **buffer_sizes,
        "negotiated_checksum": None if state.mptcp_info is None else bool(state.mptcp_info["csum_enabled"]),
    }
    for name, bit in (
        ("timestamps", OPTION_TIMESTAMPS),
        ("sack", OPTION_SACK),
        ("window_scaling", OPTION_WSCALE),
        ("ecn", OPTION_ECN),
    ):
        in_force[f"negotiated_{name}"] = None if options is None else bool(options & bit)
    return in_force


def _set_options(sock: socket.socket, endpoint: Endpoint) -> None:
    if endpoint.congestion_control is not None:
        wanted = endpoint.congestion_control
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, wanted.encode())
        except OSError as error:
            raise Unsupported(f"congestion control {wanted!r}: {error.strerror}") from None
    if endpoint.nodelay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.send_buffer_bytes is not None:
        _set_buffer(sock, socket.SO_SNDBUF, SO_SNDBUFFORCE, endpoint.send_buffer_bytes, "net.core.wmem_max")
    if endpoint.receive_buffer_bytes is not None:
        _set_buffer(sock, socket.SO_RCVBUF, SO_RCVBUFFORCE, endpoint.receive_buffer_bytes, "net.core.rmem_max")


def _set_buffer(sock: socket.socket, option: int, force: int, size: int, limit: str) -> None:
    """The kernel doubles what is asked for, and cuts it silently at a limit that root may pass."""
    sock.setsockopt(socket.SOL_SOCKET, option, size)
    if sock.getsockopt(socket.SOL_SOCKET, option) >= 2 * size:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, force, size)
    except OSError as error:
        got = sock.getsockopt(socket.SOL_SOCKET, option) // 2
        raise Unsupported(f"a buffer of {size} bytes became {got} ({error.strerror}): raise {limit}") from None
