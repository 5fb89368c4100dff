"""Proportional Rate Reduction (RFC 6937): during a recovery, send in proportion to what is delivered."""

from __future__ import annotations


class ProportionalRateReduction:
    """Variables of RFC 6937 §3, in octets."""

    __slots__ = ("delivered", "out", "recover_flight")

    def __init__(self) -> None:
        self.delivered = 0
        self.out = 0
        self.recover_flight = 1

    def begin(self, flight: int) -> None:
        """Recovery begins with ``flight`` octets from SND.UNA to SND.NXT (RecoverFS)."""
        self.delivered = 0
        self.out = 0
        self.recover_flight = max(flight, 1)

    def window(self, delivered: int, pipe: int, ssthresh: int, smss: int) -> int:
        """The cwnd that one ACK with DeliveredData = ``delivered`` allows (slow start reduction bound)."""
        self.delivered += delivered
        if pipe > ssthresh:
            allowed = -(-self.delivered * ssthresh // self.recover_flight) - self.out
        else:
            limit = max(self.delivered - self.out, delivered) + smss
            allowed = min(ssthresh - pipe, limit)
        return pipe + max(allowed, 0)
