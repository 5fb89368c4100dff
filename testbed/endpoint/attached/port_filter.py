"""The classic BPF program that lets through to an AF_PACKET socket what is for our ports, and nothing else.

TCP to one of the ports in an unfragmented packet (fragments are not put together here), and the ICMP errors that TCP
acts on: destination unreachable, and ICMPv6's unreachable and packet too big. An IPv6 packet with extension headers
comes through, for the codec to look at.

Source: linux/{bpf_common,filter}.h; net/core/filter.c (bpf_check_classic).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

PortRange = tuple[int, int]
"""First and last."""

_ETHERNET_BYTES = 14
_LOAD_16, _LOAD_8 = 0x28, 0x30
_LOAD_16_AT_X, _LOAD_8_AT_X, _X_FROM_IP_HEADER = 0x48, 0x50, 0xB1
_IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _IF_BITS, _RETURN = 0x15, 0x25, 0x35, 0x45, 0x06
_WHOLE_FRAME = 0x40000

_ICMP_UNREACHABLE = 3
_ICMPV6_UNREACHABLE, _ICMPV6_TOO_BIG = 1, 2
_EXTENSION_HEADERS = (0, 43, 60)
"""Hop-by-hop options, routing, destination options (RFC 8200 §4)."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One instruction; jumps go to labels, None to the next instruction."""

    code: int
    constant: int = 0
    yes: str | None = None
    no: str | None = None
    label: str | None = None


def port_filter(ports: Sequence[PortRange]) -> bytes:
    """The program as an array of struct sock_filter. Raises ValueError when there are too many ranges to jump over."""
    ip = _ETHERNET_BYTES
    ip6_payload = ip + 40
    steps = [
        _Step(_LOAD_16, ip - 2),
        _Step(_IF_EQUAL, 0x0800, yes="ip4"),
        _Step(_IF_EQUAL, 0x86DD, yes="ip6", no="drop"),
        _Step(_LOAD_8, ip + 9, label="ip4"),
        _Step(_X_FROM_IP_HEADER, ip),
        _Step(_IF_EQUAL, socket.IPPROTO_TCP, yes="tcp4"),
        _Step(_IF_EQUAL, socket.IPPROTO_ICMP, no="drop"),
        _Step(_LOAD_8_AT_X, ip),
        _Step(_IF_EQUAL, _ICMP_UNREACHABLE, yes="take", no="drop"),
        _Step(_LOAD_8, ip + 6, label="ip6"),
        _Step(_IF_EQUAL, socket.IPPROTO_TCP, yes="tcp6"),
        _Step(_IF_EQUAL, socket.IPPROTO_ICMPV6, yes="icmp6"),
        *(_Step(_IF_EQUAL, header, yes="take") for header in _EXTENSION_HEADERS),
        _Step(_RETURN, 0),
        _Step(_LOAD_8, ip6_payload, label="icmp6"),
        _Step(_IF_EQUAL, _ICMPV6_UNREACHABLE, yes="take"),
        _Step(_IF_EQUAL, _ICMPV6_TOO_BIG, yes="take", no="drop"),
        _Step(_LOAD_16, ip + 6, label="tcp4"),
        _Step(_IF_BITS, 0x3FFF, yes="drop"),  # more fragments, or an offset
        _Step(_LOAD_16_AT_X, ip + 2),
        _Step(_IF_AT_LEAST, 0, yes="ports"),  # always
        _Step(_LOAD_16, ip6_payload + 2, label="tcp6"),
    ]
    for number, (first, last) in enumerate(ports):
        label = "ports" if number == 0 else None
        steps += [_Step(_IF_AT_LEAST, first, no=f"not{number}", label=label), _Step(_IF_ABOVE, last, no="take")]
        steps.append(_Step(_IF_AT_LEAST, 0, label=f"not{number}"))  # a place to jump to
    steps += [_Step(_RETURN, 0, label="drop"), _Step(_RETURN, _WHOLE_FRAME, label="take")]
    return _assembled(steps)


def _assembled(steps: Sequence[_Step]) -> bytes:
    places = {step.label: number for number, step in enumerate(steps) if step.label is not None}
    program = bytearray()
    for number, step in enumerate(steps):
        jumps = [0 if label is None else places[label] - number - 1 for label in (step.yes, step.no)]
        if max(jumps) > 255:
            raise ValueError("too many port ranges for one packet filter")
        program += struct.pack("=HBBI", step.code, *jumps, step.constant)
    return bytes(program)
