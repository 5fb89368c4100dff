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


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What to ask, and how patiently."""

    source: IpAddress
    destination: IpAddress
    packet_bytes: int
    """Of the IP packet."""
    retry_s: float
    """It is sent again after so long without an answer."""
    deadline_s: float


@dataclass(slots=True)
class _Pending:
    """An echo that has no answer yet."""

    echo: Echo
    connection: socket.socket
    request: bytes
    next_s: float
    end_s: float


def echoes(namespace_fd: int, wanted: Sequence[Echo]) -> Mapping[Echo, str | None]:
    """Echo -> None when it was answered, otherwise why not. All are asked at once, from inside the namespace."""
    failed: dict[Echo, str | None] = {}
    pending: dict[int, _Pending] = {}
    poller = select.poll()
    with ExitStack() as stack:
        begun_s = time.monotonic()
        with namespaces.inside(namespace_fd):
            for number, echo in enumerate(wanted):
                try:
                    connection = stack.enter_context(_socket(echo))
                except OSError as error:
                    failed[echo] = f"{error.strerror} (source {echo.source})"
                    continue
                end_s = begun_s + echo.deadline_s
                pending[connection.fileno()] = _Pending(echo, connection, _request(echo, number), begun_s, end_s)
                poller.register(connection.fileno(), select.POLLIN)
        while pending:
            now_s = time.monotonic()
            for fd, each in list(pending.items()):
                if now_s < min(each.next_s, each.end_s):
                    continue
                why = f"no answer within {each.echo.deadline_s:.3g} s" if now_s >= each.end_s else _send(each)
                if why is not None:
                    failed[each.echo] = why
                    poller.unregister(fd)
                    del pending[fd]
            next_s = min((min(each.next_s, each.end_s) for each in pending.values()), default=now_s)
            for fd, _ in poller.poll(max(0.0, next_s - now_s) * 1000) if pending else ():
                each = pending[fd]
                if _is_answer(each.echo, each.connection.recv(1 << 16), each.request):
                    poller.unregister(fd)
                    del pending[fd]
    return {echo: failed.get(echo) for echo in wanted}


def _send(each: _Pending) -> str | None:
    """Why it cannot be sent; None when it was."""
    each.next_s = time.monotonic() + each.echo.retry_s
    try:
        each.connection.sendto(each.request, (str(each.echo.destination), 0))
    except OSError as error:
        return error.strerror or str(error)
    return None


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
