"""One echo per path, from the client's address of that path to the server's, as large as the MTU allows.

A raw ICMP socket in the client's namespace (RFC 792, RFC 4443): no program is needed and nothing sleeps. All paths
are asked at once; what got no answer is asked again until the deadline, since links may lose packets on purpose.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from testbed.orchestrator import namespaces

IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
IPV6_MTU_DISCOVER, IPV6_DONTFRAG = 23, 62
ICMP_ECHO, ICMP_ECHO_REPLY, ICMPV6_ECHO, ICMPV6_ECHO_REPLY = 8, 0, 128, 129

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Echo:
    """What to ask: from which address to which, with an IP packet of how many bytes."""

    source: IpAddress
    destination: IpAddress
    packet_bytes: int


def echoes(namespace_fd: int, wanted: Sequence[Echo], deadline_s: float, retry_s: float) -> Mapping[Echo, str | None]:
    """Echo -> None when it was answered, otherwise why not. Each is sent again after ``retry_s`` without an answer."""
    failed: dict[Echo, str | None] = {}
    open_: dict[int, tuple[Echo, socket.socket, bytes]] = {}
    with ExitStack() as stack:
        poller = select.poll()
        with namespaces.inside(namespace_fd):
            for number, echo in enumerate(wanted):
                try:
                    connection = stack.enter_context(_socket(echo))
                except OSError as error:
                    failed[echo] = f"{error.strerror} (source {echo.source})"
                    continue
                open_[connection.fileno()] = (echo, connection, _request(echo, number))
                poller.register(connection.fileno(), select.POLLIN)
        end_s = time.monotonic() + deadline_s
        while open_ and time.monotonic() < end_s:
            for echo, connection, request in list(open_.values()):
                try:
                    connection.sendto(request, (str(echo.destination), 0))
                except OSError as error:
                    failed[echo] = error.strerror
                    _forget(open_, poller, connection)
            again_s = min(end_s, time.monotonic() + retry_s)
            while open_ and (left_s := again_s - time.monotonic()) > 0:
                for fd, _ in poller.poll(left_s * 1000):
                    echo, connection, request = open_[fd]
                    if _is_answer(echo, connection.recv(1 << 16), request):
                        _forget(open_, poller, connection)
    failed |= {echo: f"no answer within {deadline_s:g} s" for echo, _, _ in open_.values()}
    return {echo: failed.get(echo) for echo in wanted}


def _forget(
    open_: dict[int, tuple[Echo, socket.socket, bytes]], poller: select.poll, connection: socket.socket
) -> None:
    poller.unregister(connection.fileno())
    del open_[connection.fileno()]


def _socket(echo: Echo) -> socket.socket:
    v4 = echo.source.version == 4
    family, protocol = (socket.AF_INET, socket.IPPROTO_ICMP) if v4 else (socket.AF_INET6, socket.IPPROTO_ICMPV6)
    connection = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        if v4:
            connection.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        else:
            connection.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO)
            connection.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
        connection.bind((str(echo.source), 0))
    except BaseException:
        connection.close()
        raise
    return connection


def _request(echo: Echo, number: int) -> bytes:
    """Header and payload; the payload starts with what tells this echo from all others."""
    v4 = echo.source.version == 4
    header = (20 if v4 else 40) + 8
    payload = os.urandom(8) + bytes(max(0, echo.packet_bytes - header - 8))
    kind = ICMP_ECHO if v4 else ICMPV6_ECHO
    unsummed = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, number) + payload
    # for ICMPv6 the kernel fills the checksum in (RFC 3542 section 3.1)
    return unsummed[:2] + struct.pack("!H", _checksum(unsummed) if v4 else 0) + unsummed[4:]


def _is_answer(echo: Echo, packet: bytes, request: bytes) -> bool:
    v4 = echo.source.version == 4
    message = packet[(packet[0] & 15) * 4 :] if v4 else packet
    return message[:1] == bytes((ICMP_ECHO_REPLY if v4 else ICMPV6_ECHO_REPLY,)) and message[4:] == request[4:]


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
