"""Keys, tokens, initial data sequence numbers and HMACs of RFC 8684 §3.1 and §3.2 (SHA-256 alone: the H flag)."""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Final

from mypy_extensions import mypyc_attr

from testbed.mptcp.tokens import TokenTable

KEY_OCTETS: Final = 8
NONCE_OCTETS: Final = 4
JOIN_ACK_HMAC_OCTETS: Final = 20
"""MP_JOIN's third packet: the leftmost 160 bits (RFC 8684 §3.2, figure 7)."""
JOIN_SYN_ACK_HMAC_OCTETS: Final = 8
"""MP_JOIN's SYN/ACK: the leftmost 64 bits (figure 6)."""
ADD_ADDR_HMAC_OCTETS: Final = 8
"""ADD_ADDR: the *rightmost* 64 bits (RFC 8684 §3.4.1)."""


def token_of(key: int) -> int:
    """Most significant 32 bits of SHA-256 of the key in network order (RFC 8684 §3.1; ``mptcp_crypto_key_sha``)."""
    return int.from_bytes(_digest(key)[:4], "big")


def idsn_of(key: int) -> int:
    """Initial data sequence number: least significant 64 bits of the same hash (RFC 8684 §3.1)."""
    return int.from_bytes(_digest(key)[-8:], "big")


def _digest(key: int) -> bytes:
    return hashlib.sha256(key.to_bytes(KEY_OCTETS, "big")).digest()


def join_hmac(own_key: int, peer_key: int, own_nonce: int, peer_nonce: int) -> bytes:
    """All 256 bits that the host with ``own_key`` proves itself with: key own‖peer, message own nonce‖peer nonce.

    RFC 8684 §3.2: host A takes Key-A‖Key-B over R-A‖R-B, host B Key-B‖Key-A over R-B‖R-A.
    """
    message = own_nonce.to_bytes(NONCE_OCTETS, "big") + peer_nonce.to_bytes(NONCE_OCTETS, "big")
    return _hmac(own_key, peer_key, message)


def add_addr_hmac(sender_key: int, receiver_key: int, address_id: int, address: bytes, port: int | None) -> bytes:
    """Truncated HMAC of an ADD_ADDR: over id‖address‖port, two zero octets where no port is (RFC 8684 §3.4.1)."""
    message = bytes((address_id,)) + address + (port or 0).to_bytes(2, "big")
    return _hmac(sender_key, receiver_key, message)[-ADD_ADDR_HMAC_OCTETS:]


def _hmac(first_key: int, second_key: int, message: bytes) -> bytes:
    secret = first_key.to_bytes(KEY_OCTETS, "big") + second_key.to_bytes(KEY_OCTETS, "big")
    return hmac.new(secret, message, hashlib.sha256).digest()


def same(proof: bytes | None, expected: bytes) -> bool:
    """Compare a received HMAC without telling by time how much of it was right."""
    return proof is not None and hmac.compare_digest(proof, expected)


class KeyPair:
    """Both keys of a connection and what follows from them; the remote half is None until the peer's key is known."""

    __slots__ = (
        "local_idsn",
        "local_key",
        "local_token",
        "remote_idsn",
        "remote_key",
        "remote_token",
    )

    def __init__(self, local_key: int) -> None:
        digest = _digest(local_key)
        self.local_key = local_key
        self.local_token = int.from_bytes(digest[:4], "big")
        self.local_idsn = int.from_bytes(digest[-8:], "big")
        self.remote_key: int | None = None
        self.remote_token: int | None = None
        self.remote_idsn: int | None = None

    def learn(self, remote_key: int) -> None:
        """The peer's key has arrived."""
        digest = _digest(remote_key)
        self.remote_key = remote_key
        self.remote_token = int.from_bytes(digest[:4], "big")
        self.remote_idsn = int.from_bytes(digest[-8:], "big")


ATTEMPTS: Final = 4
"""Keys tried for a free token before giving up (Linux ``MPTCP_TOKEN_MAX_RETRIES``)."""


@mypyc_attr(allow_interpreted_subclasses=True)
class KeySource:
    """Keys and nonces that nobody can guess from earlier ones (RFC 8684 §3.1, §3.2; RFC 4086): a keyed hash of chance.

    ``rng`` alone would not do: a Mersenne twister is known after 624 outputs. The driver of a real host passes a
    ``secret`` from the system; with one derived from the seed the keys are reproducible and as random.
    """

    __slots__ = ("_rng", "_secret")

    def __init__(self, secret: bytes, rng: random.Random) -> None:
        self._secret = secret
        self._rng = rng

    def draw(self, octets: int) -> int:
        """A fresh number of that size (at most 32 octets)."""
        chance = self._rng.getrandbits(256).to_bytes(32, "big")
        return int.from_bytes(hmac.new(self._secret, chance, hashlib.sha256).digest()[:octets], "big")

    def nonce(self) -> int:
        """A random number of MP_JOIN (R-A, R-B)."""
        return self.draw(NONCE_OCTETS)

    def unique_key_pair(self, tokens: TokenTable) -> KeyPair:
        """A key whose token no connection of this host has (RFC 8684 §3.1: MUST be unique, SHOULD be checked before it
        is sent). When the table is too crowded the token of the last try is taken: it cannot be claimed, and the
        connection does without MPTCP (B6)."""
        pair = KeyPair(self.draw(KEY_OCTETS))
        for _ in range(ATTEMPTS - 1):
            if pair.local_token not in tokens:
                break
            pair = KeyPair(self.draw(KEY_OCTETS))
        return pair
