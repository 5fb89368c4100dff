"""Reno: slow start and congestion avoidance (RFC 5681) with appropriate byte counting (RFC 3465)."""

from __future__ import annotations

from typing import ClassVar, Final

from testbed.tcp.seam import CongestionController

INFINITE_WINDOW: Final = 1 << 30
"""Initial ssthresh: "arbitrarily high" (RFC 5681 §3.1), the largest window of RFC 7323."""
ABC_LIMIT: Final = 2
"""L of RFC 3465 §2.3: octets counted per ACK in slow start, in segments."""


def initial_window(mss: int) -> int:
    """RFC 6928 §2: min(10 MSS, max(2 MSS, 14600))."""
    return min(10 * mss, max(2 * mss, 14600))


class Reno(CongestionController):
    """RFC 5681. Other controllers inherit slow start, timeout, idle restart and undo, and replace the avoidance."""

    __slots__ = ("_acked_in_avoidance", "_before", "cwnd", "initial", "mss", "ssthresh")

    name: ClassVar[str] = "reno"

    def __init__(self, initial: int | None = None) -> None:
        self.mss = 536
        self.initial = initial
        """Octets of the initial window; None: RFC 6928."""
        self.cwnd = initial if initial is not None else initial_window(self.mss)
        self.ssthresh = INFINITE_WINDOW
        self._acked_in_avoidance = 0
        """bytes_acked of RFC 3465 §2.1: octets acknowledged since cwnd last grew."""
        self._before = (0, 0)
        """cwnd and ssthresh before the last reduction."""

    def on_established(self, now: int, mss: int, srtt: int | None) -> None:
        """Set the initial window."""
        self.mss = mss
        self.cwnd = self.initial if self.initial is not None else initial_window(mss)

    def on_ack(self, now: int, acked: int, srtt: int, rtt: int | None, flight: int, is_cwnd_limited: bool) -> None:
        """Grow, unless the window was not used (RFC 7661's reason; Linux tcp_is_cwnd_limited)."""
        if not is_cwnd_limited:
            return
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked)
            if not acked:
                return
        self.avoid(now, acked, srtt)

    def slow_start(self, acked: int) -> int:
        """RFC 5681 (2) with L = 2; returns the octets left for congestion avoidance when ssthresh is reached.

        An ACK for more than L segments (of a receiver's GRO, or after lost ACKs) counts in portions: it stands for
        several that RFC 5681 would have seen.
        """
        cwnd = self.cwnd + acked
        if cwnd < self.ssthresh:
            self.cwnd = cwnd
            return 0
        self.cwnd = self.ssthresh
        return cwnd - self.ssthresh

    def avoid(self, now: int, acked: int, srtt: int) -> None:
        """One MSS for each cwnd of acknowledged octets (RFC 3465 §2.1)."""
        total = self._acked_in_avoidance + acked
        while total >= self.cwnd:
            total -= self.cwnd
            self.cwnd += self.mss
        self._acked_in_avoidance = total

    def reduced_ssthresh(self, flight: int) -> int:
        """RFC 5681 (4): max(FlightSize / 2, 2 SMSS)."""
        return max(flight >> 1, 2 * self.mss)

    def on_congestion_event(self, now: int, flight: int) -> None:
        """Halve ssthresh."""
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = self.reduced_ssthresh(flight)
        self._acked_in_avoidance = 0

    def on_timeout(self, now: int, flight: int) -> None:
        """One segment (the loss window), then slow start up to half of what was in flight."""
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = self.reduced_ssthresh(flight)
        self.cwnd = self.mss
        self._acked_in_avoidance = 0

    def on_spurious(self, now: int) -> None:
        """Take the last reduction back; growth since then is kept."""
        cwnd, ssthresh = self._before
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = max(self.ssthresh, ssthresh)

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """RFC 5681 §4.1: restart window min(IW, cwnd); RFC 2861's memory: ssthresh at least 3/4 of the old cwnd."""
        restart = self.initial if self.initial is not None else initial_window(self.mss)
        if self.cwnd > restart:
            self.ssthresh = max(self.ssthresh, self.cwnd * 3 >> 2)
            self.cwnd = restart

    def on_mss_change(self, mss: int) -> None:
        """The window keeps its octets, but never less than one segment."""
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)
