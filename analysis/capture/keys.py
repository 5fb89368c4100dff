"""What follows from the keys of a connection: tokens, initial data sequence numbers, the HMACs of joins.

v1: RFC 8684 sections 3.1 and 3.2 (SHA-256); v0: RFC 6824 sections 3.1 and 3.2 (SHA-1).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

JOIN_SYN_ACK_HMAC_OCTETS: Final = 8
JOIN_ACK_HMAC_OCTETS: Final = 20


def _hash(version: int) -> str:
    return "sha256" if version else "sha1"


def token_of(key: bytes, version: int) -> int:
    """Most significant 32 bits of the hash of the key."""
    return int.from_bytes(hashlib.new(_hash(version), key).digest()[:4], "big")


def idsn_of(key: bytes, version: int) -> int:
    """Least significant 64 bits of the same hash."""
    return int.from_bytes(hashlib.new(_hash(version), key).digest()[-8:], "big")


def join_hmac(own_key: bytes, peer_key: bytes, own_nonce: bytes, peer_nonce: bytes, version: int) -> bytes:
    """What the host with ``own_key`` proves itself with, all of it (the SYN/ACK carries its leftmost 64 bits)."""
    return hmac.new(own_key + peer_key, own_nonce + peer_nonce, _hash(version)).digest()
