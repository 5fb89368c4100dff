"""MP_JOIN: the four packets that add a subflow to a connection (RFC 8684 §3.2). Pure decisions on values.

SYN: the receiver's token and a nonce; SYN/ACK: a nonce and a 64-bit HMAC; ACK: a 160-bit HMAC; a fourth ACK ends it.
"""

from __future__ import annotations

from testbed.mptcp.keys import (
    JOIN_ACK_HMAC_OCTETS,
    JOIN_SYN_ACK_HMAC_OCTETS,
    KeyPair,
    join_hmac,
    same,
)
from testbed.wire.options import MpJoin, MptcpOption


def join_of(options: tuple[MptcpOption, ...]) -> MpJoin | None:
    """The segment's MP_JOIN; of several, the first."""
    for option in options:
        if isinstance(option, MpJoin):
            return option
    return None


class JoinState:
    """What one join knows: both nonces, and whether the third packet has been acknowledged."""

    __slots__ = ("attempts", "deadline", "local_nonce", "remote_nonce")

    def __init__(self, local_nonce: int) -> None:
        self.local_nonce = local_nonce
        self.remote_nonce: int | None = None
        self.deadline: int | None = None
        """When the third packet is repeated (J6)."""
        self.attempts = 0
        """Third packets sent."""

    def request(self, keys: KeyPair, address_id: int, backup: bool) -> MpJoin:
        """The SYN's (12 octets)."""
        assert keys.remote_token is not None, "the peer's key is known before a join (B15)"
        return MpJoin(address_id, backup, token=keys.remote_token, nonce=self.local_nonce)

    def answer(self, keys: KeyPair, address_id: int, backup: bool) -> MpJoin:
        """The SYN/ACK's (16 octets)."""
        proof = self._own_proof(keys)[:JOIN_SYN_ACK_HMAC_OCTETS]
        return MpJoin(address_id, backup, nonce=self.local_nonce, hmac=proof)

    def confirmation(self, keys: KeyPair) -> MpJoin:
        """The third packet's (24 octets)."""
        return MpJoin(hmac=self._own_proof(keys)[:JOIN_ACK_HMAC_OCTETS])

    def answer_is_genuine(self, keys: KeyPair, option: MpJoin) -> bool:
        """Whether a SYN/ACK's HMAC proves that the peer has both keys; takes its nonce."""
        if option.nonce is None:
            return False
        self.remote_nonce = option.nonce
        return same(option.hmac, self._peer_proof(keys)[:JOIN_SYN_ACK_HMAC_OCTETS])

    def confirmation_is_genuine(self, keys: KeyPair, option: MpJoin) -> bool:
        """The same for the third packet."""
        return option.nonce is None and same(option.hmac, self._peer_proof(keys)[:JOIN_ACK_HMAC_OCTETS])

    def _own_proof(self, keys: KeyPair) -> bytes:
        assert keys.remote_key is not None and self.remote_nonce is not None
        return join_hmac(keys.local_key, keys.remote_key, self.local_nonce, self.remote_nonce)

    def _peer_proof(self, keys: KeyPair) -> bytes:
        assert keys.remote_key is not None and self.remote_nonce is not None
        return join_hmac(keys.remote_key, keys.local_key, self.remote_nonce, self.local_nonce)
