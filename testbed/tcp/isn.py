"""Initial sequence numbers (RFC 6528, RFC 9293 §3.4.1): a clock plus a keyed hash of the connection."""

from __future__ import annotations

from hashlib import blake2s
from typing import Final

from testbed.wire.segment import SocketAddress

_TICK_NS: Final = 4_000
"""RFC 9293 MUST-8: a clock that steps about every 4 microseconds, so that it wraps in 4.55 hours."""


def initial_sequence_number(local: SocketAddress, remote: SocketAddress, secret: bytes, now: int) -> int:
    """ISN = M + F(local, remote, secret) (RFC 6528 §3); the hash is not computable without the secret (MUST-9)."""
    keyed = blake2s(key=secret[:32], digest_size=4)
    for host, port in (local, remote):
        keyed.update(len(host).to_bytes(1, "big") + host + port.to_bytes(2, "big"))
    return (now // _TICK_NS + int.from_bytes(keyed.digest(), "big")) & 0xFFFFFFFF


def timestamp_offset(local: SocketAddress, remote: SocketAddress, secret: bytes) -> int:
    """A start for the timestamp clock that differs per pair of hosts (RFC 7323 §5.4), monotonic for one pair."""
    keyed = blake2s(local.host + b"|" + remote.host, key=secret[:32], digest_size=4, person=b"tsclock")
    return int.from_bytes(keyed.digest(), "big")
