"""TCP Fast Open (RFC 7413): cookies of a server, the cache of a client, what one connection does with them."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2s
from hmac import compare_digest
from typing import Final

COOKIE_OCTETS: Final = 8
"""RFC 7413 §4.1.1 allows 4 to 16, even; 8 is Linux's."""
_CACHE_LIMIT: Final = 1024
_PENDING_LIMIT: Final = 256
"""RFC 7413 §5.1: connections in SYN-RECEIVED that Fast Open may have made."""


class FastOpen:
    """Fast Open of one host: the server's key and the client's cache; shared by its connections."""

    __slots__ = ("_cache", "_secret", "pending")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:32]
        self._cache: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
        self.pending = 0

    def cookie_for(self, client: bytes) -> bytes:
        """The cookie of a client's address (RFC 7413 §4.1.2: a keyed hash, cheap to check, nothing stored)."""
        return blake2s(client, key=self._secret, digest_size=COOKIE_OCTETS, person=b"fastopen").digest()

    def is_valid(self, cookie: bytes, client: bytes) -> bool:
        """Whether we gave ``cookie`` to ``client``."""
        return compare_digest(cookie, self.cookie_for(client))

    def may_accept(self) -> bool:
        """Whether one more connection may be made by Fast Open (RFC 7413 §5.1)."""
        return self.pending < _PENDING_LIMIT

    def remember(self, server: bytes, cookie: bytes, mss: int) -> None:
        """Keep what a server gave us (RFC 7413 §4.1.3)."""
        self._cache[server] = (cookie, mss)
        self._cache.move_to_end(server)
        if len(self._cache) > _CACHE_LIMIT:
            self._cache.popitem(last=False)

    def forget(self, server: bytes) -> None:
        """The cookie did not work."""
        self._cache.pop(server, None)

    def known(self, server: bytes) -> tuple[bytes, int] | None:
        """(cookie, MSS of the server) or None."""
        return self._cache.get(server)


class FastOpenState:
    """Fast Open of one connection."""

    __slots__ = ("accepted", "cookie", "counted", "host", "syn_data", "syn_repeat", "syn_time")

    def __init__(self) -> None:
        self.host: FastOpen | None = None
        """None: not used here."""
        self.cookie: bytes | None = None
        """What our SYN (client) or SYN/ACK (server) carries; b"": a request."""
        self.syn_data = 0
        """Octets of data in the SYN: ours as sent, or the peer's as accepted (RFC 8684 appendix B needs them)."""
        self.syn_time = 0
        self.syn_repeat = False
        """A SYN or SYN/ACK is to leave again, not because of a timeout."""
        self.accepted = False
        """Client: the SYN's data was acknowledged. Server: the cookie was good; data may leave in SYN-RECEIVED."""
        self.counted = False
        """Server: counted in ``FastOpen.pending``."""

    def no_longer_pending(self) -> None:
        """The handshake is complete, or the connection gone: its place among the pending ones is free again."""
        if self.counted and self.host is not None:
            self.host.pending -= 1
            self.counted = False
