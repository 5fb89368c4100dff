"""Captures made octet by octet: what no kernel here sends (MPTCP v0, every form of every option, any order and padding)
and link and network headers of every kind around it. Packets have their headers right, checksums excepted.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import wire_values

from testbed.wire.option_codec import encode_options

ETHERNET, NULL, PPP, RAW, LOOP, SLL, SLL2, IPV4, IPV6, RAW_BSD = 1, 0, 9, 101, 108, 113, 276, 228, 229, 12
"""LINKTYPE values (and DLT_RAW as some systems write it)."""
SECOND = 1_000_000_000
V4 = (bytes((10, 0, 1, 1)), bytes((10, 0, 2, 2)))
V6 = (bytes.fromhex("fd000001" + "0" * 22 + "01"), bytes.fromhex("fd000002" + "0" * 22 + "02"))


def tcp(
    area: bytes = b"",
    payload: bytes = b"",
    *,
    ports: tuple[int, int] = (40000, 5001),
    seq: int = 0xFFFFFF00,
    ack: int = 0x80000001,
    flags: int = 0x10,
    window: int = 512,
) -> bytes:
    """A segment; the option area is a multiple of four octets."""
    assert len(area) % 4 == 0 and len(area) <= 40, area.hex()
    offset = (20 + len(area)) << 10
    return struct.pack("!HHIIHHHH", *ports, seq, ack, offset | flags, window, 0xC5C5, 0) + area + payload


def ipv4(
    payload: bytes,
    *,
    hosts: tuple[bytes, bytes] = V4,
    tos: int = 0,
    ttl: int = 64,
    options: bytes = b"",
    fragment: int = 0x4000,
    protocol: int = 6,
    total: int | None = None,
) -> bytes:
    """A packet; ``fragment``: flags and offset; ``total``: what the length says when it is not the truth."""
    length = 20 + len(options) + len(payload) if total is None else total
    first = 0x45 + len(options) // 4
    return (
        struct.pack("!BBHHHBBH", first, tos, length, 7, fragment, ttl, protocol, 0)
        + b"".join(hosts)
        + options
        + payload
    )


def ipv6(
    payload: bytes,
    *,
    hosts: tuple[bytes, bytes] = V6,
    traffic_class: int = 0,
    hop_limit: int = 64,
    extensions: Sequence[tuple[int, bytes]] = (),
    protocol: int = 6,
    total: int | None = None,
) -> bytes:
    """A packet; ``extensions``: (next-header value of it, its octets without the first) in order."""
    chain = b""
    kinds = [kind for kind, _ in extensions] + [protocol]
    for (_, body), following in zip(extensions, kinds[1:], strict=True):
        chain += bytes((following,)) + body
    length = len(chain) + len(payload) if total is None else total
    head = struct.pack("!IHBB", 6 << 28 | traffic_class << 20 | 0xABCDE, length, kinds[0], hop_limit)
    return head + b"".join(hosts) + chain + payload


HOP_BY_HOP = (0, bytes((0, 1, 4, 0, 0, 0, 0)))
DESTINATION = (60, bytes((1, 1, 12)) + bytes(12))
ROUTING = (43, bytes((2, 4, 0)) + bytes(20))
FRAGMENT_WHOLE = (44, bytes((0, 0, 0, 0, 0, 0, 9)))
"""An atomic fragment (RFC 6946): offset 0 and nothing more."""
FRAGMENT_FIRST = (44, bytes((0, 0, 1, 0, 0, 0, 9)))
FRAGMENT_LATER = (44, bytes((0, 1, 0, 0, 0, 0, 9)))
AUTHENTICATION = (51, bytes((4, 0, 0)) + bytes(20))


def _ether_type(packet: bytes) -> int:
    return 0x86DD if packet[0] >> 4 == 6 else 0x0800


def ethernet(packet: bytes, *tags: tuple[int, int], pad: bool = True) -> bytes:
    """A frame; ``tags``: (TPID, VLAN) from the outside in; short ones are padded to 60 octets, as on the line."""
    frame = bytes(range(12)) + b"".join(struct.pack("!HH", *tag) for tag in tags)
    frame += struct.pack("!H", _ether_type(packet)) + packet
    return frame + b"\xee" * (60 - len(frame)) if pad else frame


def pppoe(packet: bytes) -> bytes:
    """PPPoE session on Ethernet: a kind that a reader may pass over, if it says so."""
    protocol = 0x0057 if packet[0] >> 4 == 6 else 0x0021
    inner = struct.pack("!BBHHH", 0x11, 0, 1, len(packet) + 2, protocol) + packet
    return bytes(range(12)) + b"\x88\x64" + inner


def sll(packet: bytes) -> bytes:
    """Linux cooked capture."""
    return struct.pack("!HHH8sH", 4, 1, 6, bytes(8), _ether_type(packet)) + packet


def sll2(packet: bytes) -> bytes:
    """Linux cooked capture, version 2."""
    return struct.pack("!HHIHBB8s", _ether_type(packet), 0, 3, 1, 4, 6, bytes(8)) + packet


def ppp(packet: bytes) -> bytes:
    """With address and control field."""
    return b"\xff\x03" + (b"\x00\x57" if packet[0] >> 4 == 6 else b"\x00\x21") + packet


def null(packet: bytes, order: str = "<") -> bytes:
    """BSD loopback: the family in the byte order of the machine that captured."""
    return struct.pack(order + "I", 24 if packet[0] >> 4 == 6 else 2) + packet


def loop(packet: bytes) -> bytes:
    """OpenBSD loopback: in network order."""
    return null(packet, ">")


def raw(packet: bytes) -> bytes:
    """Nothing before the IP header."""
    return packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (ETHERNET, ethernet),
    "vlan": (ETHERNET, lambda packet: ethernet(packet, (0x8100, 42))),
    "qinq": (ETHERNET, lambda packet: ethernet(packet, (0x88A8, 7), (0x8100, 42))),
    "sll": (SLL, sll),
    "sll2": (SLL2, sll2),
    "raw": (RAW, raw),
    "raw-bsd": (RAW_BSD, raw),
    "ppp": (PPP, ppp),
    "null": (NULL, null),
    "null-big": (NULL, lambda packet: null(packet, ">")),
    "loop": (LOOP, loop),
}
"""Name -> link type and what makes a frame of a packet."""


def pcap(
    path: Path,
    frames: Iterable[bytes],
    link: int = ETHERNET,
    *,
    order: str = "<",
    nanoseconds: bool = True,
    snaplen: int = 262144,
    start_ns: int = 1_700_000_000 * SECOND,
    step_ns: int = 1_000_017,
) -> Path:
    """A file of such frames, one each ``step_ns``, cut to ``snaplen``."""
    timed = ((start_ns + index * step_ns, frame) for index, frame in enumerate(frames))
    return timed_pcap(path, timed, link, order=order, nanoseconds=nanoseconds, snaplen=snaplen)


def timed_pcap(
    path: Path,
    frames: Iterable[tuple[int, bytes]],
    link: int = ETHERNET,
    *,
    order: str = "<",
    nanoseconds: bool = True,
    snaplen: int = 262144,
) -> Path:
    """A file of (time, frame)."""
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    with path.open("wb") as out:
        out.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link))
        for time_ns, frame in frames:
            seconds, rest = divmod(time_ns, SECOND)
            kept = frame[:snaplen]
            out.write(struct.pack(order + "IIII", seconds, rest // unit, len(kept), len(frame)) + kept)
    return path


# --- option areas ---


def mptcp(*octets: int | bytes) -> bytes:
    """Kind 30 around a body."""
    body = b"".join(part if isinstance(part, bytes) else bytes((part,)) for part in octets)
    return bytes((30, 2 + len(body))) + body


def nops(area: bytes) -> bytes:
    """Padded to four octets behind."""
    return area + b"\x01" * (-len(area) % 4)


KEY_A, KEY_B = bytes.fromhex("f1e2d3c4b5a69788"), bytes.fromhex("8899aabbccddeeff")
VERSION_0: tuple[bytes, ...] = (
    mptcp(0x00, 0x81, KEY_A),
    mptcp(0x00, 0x01, KEY_B),
    mptcp(0x00, 0x01, KEY_A, KEY_B),
    mptcp(0x10, 3, b"toke", b"rand"),
    mptcp(0x11, 4, b"8 octets", b"rand"),
    mptcp(0x10, 0, b"twenty octets of it!"),
    mptcp(0x34, 5, bytes((192, 0, 2, 1))),
    mptcp(0x34, 5, bytes((192, 0, 2, 1)), b"\x13\x89"),
    mptcp(0x36, 6, V6[0]),
    mptcp(0x36, 6, V6[0], b"\x13\x89"),
    mptcp(0x40, 5),
    mptcp(0x40, 5, 6, 7),
    mptcp(0x51),
    mptcp(0x51, 9),
    mptcp(0x60, 0, b"\xf0\0\0\0\0\0\0\1"),
    mptcp(0x70, 0, KEY_B),
)
"""Option areas of MPTCP v0 (RFC 6824), without padding; DSS is that of v1."""

VERSION_1: tuple[bytes, ...] = tuple(encode_options(area) for area in wire_values.ONE_OF_EACH)


def random_area(rng: random.Random) -> bytes:
    """An option area as no stack would send it: any options, duplicates too, in any order, padded anywhere.

    Any but MP_CAPABLE and MP_JOIN: tshark (4.0.17) ends a header at one that does not fit its idea of a handshake.
    """
    area = b""
    for _ in range(rng.randint(1, 8)):
        option = _random_option(rng)
        if len(area) + len(option) <= 40 and (option[0] != 30 or option[2] >> 4 > 1):
            area += option
    if rng.randrange(10) < 3:
        area += bytes(-len(area) % 4)
        return area + bytes(4 * rng.randint(0, (40 - len(area)) // 4))
    return nops(area)


def _random_option(rng: random.Random) -> bytes:
    def number(octets: int) -> bytes:
        return rng.randbytes(octets) if rng.randrange(4) else rng.choice((b"\xff", b"\0")) * octets

    kind = rng.randrange(16)
    if kind < 3:
        return b"\x01" * rng.randint(1, 3)
    if kind < 5:
        return b"\x08\x0a" + number(8)
    if kind < 6:
        blocks = rng.randint(1, 4)
        return bytes((5, 2 + 8 * blocks)) + number(8 * blocks)
    if kind < 11:
        flags = rng.randrange(32)
        size = (0, 4, 0, 8)[flags & 3] + (0 if not flags & 4 else 14 if flags & 8 else 10)
        size += 2 * (flags >> 2 & 1 and rng.randrange(2))
        return mptcp(0x20, flags, number(size))
    if kind < 13:
        return rng.choice((b"\x02\x04" + number(2), b"\x03\x03" + bytes((rng.randrange(15),)), b"\x04\x02"))
    return rng.choice([area for area in (*VERSION_0, *VERSION_1) if _is_one_option(area)])


def _is_one_option(area: bytes) -> bool:
    return area[0] == 30 and area[1] == len(area)


ANY_VERSION: tuple[bytes, ...] = (*(nops(area) for area in VERSION_0), *VERSION_1)
