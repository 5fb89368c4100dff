"""Keys of the connection of a scripted peer, and what data sequence numbers they make."""

from __future__ import annotations

from testbed.mptcp.keys import idsn_of

M64 = (1 << 64) - 1
_HALF = {4: 1 << 31, 8: 1 << 63}


class Keys:
    """Ours from the beginning, the other end's when it has told it."""

    def __init__(self, own: int) -> None:
        self.own = own
        self.other: int | None = None
        self.checksum = False
        """DSS checksums are used."""
        self._idsn = idsn_of(own)
        self._other_idsn = 0

    def learn(self, key: int) -> None:
        """The other end's."""
        if self.other is None:
            self.other = key
            self._other_idsn = idsn_of(key)

    def dsn(self, octet: int) -> int:
        """Of our octet, counted from 1 (RFC 8684 §3.1: the first is IDSN + 1)."""
        return (self._idsn + octet) & M64

    def octet_of(self, dsn: int, octets: int = 8) -> int:
        """Which octet of ours a number means; ``octets``: how wide it is on the wire."""
        return _near(dsn - self._idsn, octets)

    def other_dsn(self, octet: int) -> int:
        """The same of the other end's octets."""
        return (self._other_idsn + octet) & M64

    def other_octet_of(self, dsn: int, octets: int = 8) -> int:
        """Which octet of the other end's a number means."""
        return _near(dsn - self._other_idsn, octets)


def _near(difference: int, octets: int) -> int:
    space = 1 << (8 * octets)
    offset = difference % space
    return offset - space if offset >= _HALF[octets] else offset
