"""The Internet checksum (RFC 1071), its incremental form (RFC 1624), pseudo headers and the DSS checksum (RFC 8684).

A *sum* here is the ones' complement sum of 16-bit words, 0 only when every word is 0; a *checksum* is its complement.
A big-endian number modulo 65535 is the sum of its 16-bit digits, as 65536 is 1 modulo 65535. CPython divides a long
number faster than it adds words one by one; the one thing lost is 0xFFFF, which is 0 modulo 65535.
"""

from __future__ import annotations

import struct
from typing import Final

PROTOCOL_TCP: Final = 6

_DSS_PSEUDO_HEADER: Final = struct.Struct("!QIHH")
_MASK_64: Final = 0xFFFFFFFFFFFFFFFF
_MASK_32: Final = 0xFFFFFFFF


def ones_complement_sum(data: bytes) -> int:
    """Sum of the 16-bit words of ``data``, an odd octet padded with zero on the right (RFC 1071 §1)."""
    value = int.from_bytes(data, "big")
    if len(data) & 1:
        value <<= 8
    return value % 65535 or (65535 if value else 0)


def add(first: int, second: int) -> int:
    """Ones' complement sum of two sums."""
    total = first + second
    return (total & 0xFFFF) + (total >> 16)


def swap(partial: int) -> int:
    """What a sum becomes when its data moves to an odd offset (RFC 1071 §2 (B))."""
    return (partial >> 8) | ((partial & 0xFF) << 8)


def sum_of_chunks(chunks: list[bytes]) -> int:
    """The sum of the concatenation, without concatenating."""
    total = 0
    odd = False
    for chunk in chunks:
        partial = ones_complement_sum(chunk)
        total = add(total, swap(partial) if odd else partial)
        odd ^= bool(len(chunk) & 1)
    return total


def internet_checksum(data: bytes) -> int:
    """The checksum field that makes the sum over ``data`` with it 0xFFFF."""
    return 0xFFFF - ones_complement_sum(data)


def updated(checksum: int, old: int, new: int) -> int:
    """The checksum after one 16-bit word of the data changed from ``old`` to ``new`` (RFC 1624 equation 3)."""
    total = (0xFFFF - checksum) + (0xFFFF - old) + new
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - ((total & 0xFFFF) + (total >> 16))


def pseudo_header_sum(source: bytes, destination: bytes, octets: int, protocol: int = PROTOCOL_TCP) -> int:
    """Sum of the pseudo header of RFC 9293 §3.1 (addresses of 4 octets) or RFC 8200 §8.1 (of 16).

    ``octets``: the length of the TCP header and data. The same value, not complemented, is what the kernel expects in
    the checksum field of a packet whose checksum the device is to complete (linux/skbuff.h, CHECKSUM_PARTIAL).
    """
    return (int.from_bytes(source + destination, "big") + octets + protocol) % 65535 or 65535


def dss_checksum(dsn: int, ssn: int, length: int, payload_sum: int) -> int:
    """Checksum field of a mapping (RFC 8684 §3.3.1, figure 10).

    ``dsn`` counts as 64 bits whatever its width in the option; ``length`` includes a DATA_FIN, which is no part of the
    payload. ``payload_sum``: :func:`ones_complement_sum` of the mapped data.
    """
    header = _DSS_PSEUDO_HEADER.pack(dsn & _MASK_64, ssn & _MASK_32, length, 0)
    return 0xFFFF - add(ones_complement_sum(header), payload_sum)


def is_dss_checksum_right(checksum: int, dsn: int, ssn: int, length: int, payload_sum: int) -> bool:
    """Whether a received checksum fits; 0 and 0xFFFF are the same number in ones' complement."""
    return (dss_checksum(dsn, ssn, length, payload_sum) - checksum) % 65535 == 0
