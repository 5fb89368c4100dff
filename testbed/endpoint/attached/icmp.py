"""ICMP errors about our segments, from frames: what TCP has to know of them (RFC 9293 §3.9.2.2, RFC 1191, RFC 8201)."""

from __future__ import annotations

import socket
import struct

from testbed.endpoint.attached.frames import LINK_HEADER_BYTES
from testbed.tcp.icmp import Icmp, IcmpKind
from testbed.wire.segment import SocketAddress

_QUOTED_PORTS_AND_SEQ = struct.Struct("!HHI")

_ICMP_UNREACHABLE, _ICMPV6_UNREACHABLE, _ICMPV6_TOO_BIG = 3, 1, 2
_HARD_CODES = {4: (2, 3), 6: (1, 4)}
"""Protocol and port unreachable; of ICMPv6: administratively prohibited is what Linux treats as hard, and port."""
_FRAGMENTATION_NEEDED = 4

Quoted = tuple[SocketAddress, SocketAddress, Icmp]
"""Our address, the peer's, the message."""


def icmp_of(frame: bytes) -> Quoted | None:
    """The message in a frame, when it is an error about a TCP segment and quotes enough of it; else None."""
    at = LINK_HEADER_BYTES
    if len(frame) < at + 28:
        return None
    if frame[at] >> 4 == 4 and frame[at + 9] == socket.IPPROTO_ICMP:
        return _of_ipv4(frame, at + (frame[at] & 0x0F) * 4)
    if frame[at] >> 4 == 6 and frame[at + 6] == socket.IPPROTO_ICMPV6:
        return _of_ipv6(frame, at + 40)
    return None


def _of_ipv4(frame: bytes, at: int) -> Quoted | None:
    quoted = at + 8
    if len(frame) < quoted + 20 or frame[at] != _ICMP_UNREACHABLE or frame[quoted + 9] != socket.IPPROTO_TCP:
        return None
    if frame[at + 1] == _FRAGMENTATION_NEEDED:
        kind, mtu = IcmpKind.TOO_BIG, int.from_bytes(frame[at + 6 : at + 8], "big")
    else:
        kind, mtu = (IcmpKind.HARD if frame[at + 1] in _HARD_CODES[4] else IcmpKind.SOFT), 0
    transport = quoted + (frame[quoted] & 0x0F) * 4
    return _quoted(frame, transport, frame[quoted + 12 : quoted + 16], frame[quoted + 16 : quoted + 20], kind, mtu)


def _of_ipv6(frame: bytes, at: int) -> Quoted | None:
    quoted = at + 8
    if len(frame) < quoted + 40 or frame[quoted + 6] != socket.IPPROTO_TCP:
        return None
    if frame[at] == _ICMPV6_TOO_BIG:
        kind, mtu = IcmpKind.TOO_BIG, int.from_bytes(frame[at + 4 : at + 8], "big")
    elif frame[at] == _ICMPV6_UNREACHABLE:
        kind, mtu = (IcmpKind.HARD if frame[at + 1] in _HARD_CODES[6] else IcmpKind.SOFT), 0
    else:
        return None
    source, destination = frame[quoted + 8 : quoted + 24], frame[quoted + 24 : quoted + 40]
    return _quoted(frame, quoted + 40, source, destination, kind, mtu)


def _quoted(frame: bytes, at: int, source: bytes, destination: bytes, kind: IcmpKind, mtu: int) -> Quoted | None:
    if len(frame) < at + _QUOTED_PORTS_AND_SEQ.size:
        return None
    local_port, remote_port, seq = _QUOTED_PORTS_AND_SEQ.unpack_from(frame, at)
    return SocketAddress(source, local_port), SocketAddress(destination, remote_port), Icmp(kind, seq, mtu)
