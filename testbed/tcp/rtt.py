"""Round-trip time: RFC 6298's estimator and retransmission timeout, and the minimum over a window of time."""

from __future__ import annotations

from typing import Final

from testbed.tcp.parameters import SECOND, Parameters

MIN_RTT_WINDOW_NS: Final = 300 * SECOND
"""How long a minimum counts (Linux tcp_min_rtt_wlen); RFC 8985 §6.2 step 1 asks for a windowed minimum."""
RTO_AFTER_SYN_LOSS_NS: Final = 3 * SECOND
"""RFC 6298 (5.7)."""


class RttEstimator:
    """SRTT, RTTVAR, RTO (RFC 6298 §2) in ns.

    The minimum of (2.4) is applied to the variance term, as Linux does (``tcp_set_rto``): RTO = SRTT + max(4 RTTVAR,
    minimum). It is never below the minimum either, and a delayed ACK on a long, quiet path does not fire it.
    """

    __slots__ = (
        "_min_candidate",
        "_min_candidate_at",
        "_min_since",
        "max_rto",
        "min_rto",
        "min_rtt",
        "rto",
        "rttvar",
        "srtt",
    )

    def __init__(self, parameters: Parameters) -> None:
        self.min_rto = parameters.min_rto_ns
        self.max_rto = parameters.max_rto_ns
        self.srtt = 0
        """0: no sample yet."""
        self.rttvar = 0
        self.rto = parameters.initial_rto_ns
        """Without backoff."""
        self.min_rtt = 0
        """0: no sample yet."""
        self._min_since = 0
        self._min_candidate = 0
        self._min_candidate_at = 0

    def sample(self, rtt: int, now: int) -> None:
        """Take a measurement that Karn's algorithm allows (never retransmitted, or from a timestamp)."""
        if rtt <= 0:
            rtt = 1
        srtt = self.srtt
        if srtt:
            error = srtt - rtt
            # (2.3) RTTVAR first, with the SRTT of before: 3/4 and 1/4, then 7/8 and 1/8.
            rttvar = self.rttvar
            rttvar += ((error if error > 0 else -error) - rttvar) >> 2
            self.rttvar = rttvar
            self.srtt = srtt = srtt - (error >> 3)
        else:
            self.srtt = srtt = rtt  # (2.2)
            self.rttvar = rttvar = rtt >> 1
        variance = rttvar << 2
        rto = srtt + (variance if variance > self.min_rto else self.min_rto)
        self.rto = rto if rto < self.max_rto else self.max_rto
        if rtt <= self.min_rtt or not self.min_rtt:
            self.min_rtt = rtt
            self._min_since = now
            self._min_candidate = 0
        elif now - self._min_since > MIN_RTT_WINDOW_NS >> 1:
            self._age_minimum(rtt, now)

    def _age_minimum(self, rtt: int, now: int) -> None:
        """Gather the minimum of the window's second half; it takes over when the window has passed."""
        if not self._min_candidate or rtt <= self._min_candidate:
            self._min_candidate = rtt
            self._min_candidate_at = now
        if now - self._min_since > MIN_RTT_WINDOW_NS:
            self.min_rtt = self._min_candidate
            self._min_since = self._min_candidate_at
            self._min_candidate = 0

    def syn_was_lost(self) -> None:
        """(5.7): data transmission begins with at least 3 s when a SYN's timer expired and there is no sample."""
        if not self.srtt and self.rto < RTO_AFTER_SYN_LOSS_NS:
            self.rto = min(RTO_AFTER_SYN_LOSS_NS, self.max_rto)
