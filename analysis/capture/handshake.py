"""The options of SYN, SYN/ACK and third ACK that say who a subflow is: octets to values.

MP_CAPABLE and MP_JOIN are read by length, as both versions are (RFC 8684 sections 3.1 and 3.2, RFC 6824 likewise). What
a length does not allow is not there: nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIND_MSS: Final = 2
KIND_WINDOW_SCALE: Final = 3
KIND_SACK_PERMITTED: Final = 4
KIND_MPTCP: Final = 30
MP_CAPABLE: Final = 0
MP_JOIN: Final = 1
DSS: Final = 2

_CHECKSUM: Final = 0x80
_BACKUP: Final = 0x01


@dataclass(frozen=True, slots=True)
class Capable:
    """MP_CAPABLE."""

    version: int
    checksum: bool
    sender_key: bytes | None
    receiver_key: bytes | None
    data_length: int | None
    """Of the mapping that the first data carry here: from the IDSN + 1 at SSN 1 on (RFC 8684 section 3.1)."""
    data_checksum: int | None


@dataclass(frozen=True, slots=True)
class Join:
    """MP_JOIN: SYN (token and nonce), SYN/ACK (HMAC and nonce) or third ACK (HMAC)."""

    address_id: int | None
    backup: bool | None
    token: int | None
    nonce: bytes | None
    hmac: bytes | None


def capable(octets: bytes) -> Capable | None:
    """Of an option of 4, 12, 20, 22 or 24 octets; None for another length."""
    size = len(octets)
    if size not in (4, 12, 20, 22, 24):
        return None
    return Capable(
        octets[2] & 0x0F,
        bool(octets[3] & _CHECKSUM),
        octets[4:12] if size >= 12 else None,
        octets[12:20] if size >= 20 else None,
        int.from_bytes(octets[20:22], "big") if size >= 22 else None,
        int.from_bytes(octets[22:24], "big") if size == 24 else None,
    )


def join(octets: bytes) -> Join | None:
    """Of an option of 12, 16 or 24 octets; None for another length."""
    match len(octets):
        case 12:
            return Join(octets[3], bool(octets[2] & _BACKUP), int.from_bytes(octets[4:8], "big"), octets[8:12], None)
        case 16:
            return Join(octets[3], bool(octets[2] & _BACKUP), None, octets[12:16], octets[4:12])
        case 24:
            return Join(None, None, None, None, octets[4:24])
        case _:
            return None
