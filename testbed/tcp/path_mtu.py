"""The path's MTU as one connection knows it: ICMP (RFC 1191, RFC 8201) and black holes (RFC 4821 §7)."""

from __future__ import annotations

from typing import Final

MINIMUM_V4: Final = 68
"""RFC 791: every path carries this."""
MINIMUM_V6: Final = 1280
"""RFC 8200 §5."""
RAISE_AFTER_NS: Final = 600_000_000_000
"""RFC 1191 §6.3, RFC 8201 §4: no larger packet is tried within 10 minutes of a decrease."""
BLACK_HOLE_TIMEOUTS: Final = 2
"""Timeouts in a row of the same full-sized segment from which on the size itself is suspected (RFC 4821 §7.7)."""
_BLACK_HOLE_STEPS: Final = (1300, 1064, 576, 296)
"""Fallback sizes: tunnels, Linux's tcp_base_mss + 40, RFC 1122's datagram, SLIP (RFC 1191 §7 table, thinned)."""


class PathMtu:
    """The interface's MTU, the path's, and what lowers and raises the latter."""

    __slots__ = ("interface", "minimum", "mtu")

    def __init__(self, interface: int, is_v6: bool) -> None:
        self.interface = interface
        self.minimum = MINIMUM_V6 if is_v6 else MINIMUM_V4
        self.mtu = interface

    def too_big(self, reported: int) -> bool:
        """A router says packets may have ``reported`` octets (0: it does not say). Whether that is news."""
        if reported == 0:
            reported = next((step for step in _BLACK_HOLE_STEPS if step < self.mtu), self.minimum)
        return self._lower(reported)

    def timed_out(self, backoff: int) -> bool:
        """A full-sized segment has timed out ``backoff`` times in a row. Whether a smaller size is to be tried."""
        if backoff < BLACK_HOLE_TIMEOUTS:
            return False
        return self._lower(next((step for step in _BLACK_HOLE_STEPS if step < self.mtu), self.minimum))

    def _lower(self, mtu: int) -> bool:
        mtu = max(self.minimum, mtu)
        if mtu >= self.mtu:
            return False
        self.mtu = mtu
        return True

    def raised(self) -> bool:
        """Try the interface's size again. Whether that is larger."""
        if self.mtu >= self.interface:
            return False
        self.mtu = self.interface
        return True
