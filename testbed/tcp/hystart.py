"""HyStart++ (RFC 9406): leave slow start when the round-trip time grows, before packets are lost."""

from __future__ import annotations

from typing import Final

from testbed.tcp.parameters import MS

MIN_RTT_THRESH_NS: Final = 4 * MS
MAX_RTT_THRESH_NS: Final = 16 * MS
MIN_RTT_DIVISOR: Final = 8
N_RTT_SAMPLE: Final = 8
CSS_GROWTH_DIVISOR: Final = 4
CSS_ROUNDS: Final = 5
"""RFC 9406 §4.3's recommended values."""


class HyStart:
    """Rounds of slow start with their minimum RTT (RFC 9406 §4.2); a round is one window of acknowledged octets."""

    __slots__ = (
        "_css_baseline",
        "_css_rounds",
        "_current_min",
        "_last_min",
        "_round_left",
        "_samples",
        "in_css",
        "leaves_slow_start",
    )

    def __init__(self) -> None:
        self.leaves_slow_start = False
        """Conservative slow start ended, or a loss did: HyStart++ is for the first slow start only (§4.3)."""
        self.in_css = False
        self._css_rounds = 0
        self._css_baseline = 0
        self._last_min = 0
        self._current_min = 0
        self._samples = 0
        self._round_left = 0

    def restart(self) -> None:
        """After an RTO slow start runs without HyStart++ (§4.3: only the initial one)."""
        self.leaves_slow_start = False
        self.in_css = False
        self._round_left = -1

    def on_ack(self, acked: int, rtt: int | None, flight: int, mss: int) -> int:
        """Octets by which slow start may grow for this ACK."""
        if self._round_left < 0:
            return acked  # not the first slow start
        if self._round_left <= 0:
            self._begin_round(flight)
        self._round_left = max(self._round_left - acked, 0)
        if rtt is not None:
            self._samples += 1
            if not self._current_min or rtt < self._current_min:
                self._current_min = rtt
        if self.in_css:
            if self._samples >= N_RTT_SAMPLE and self._current_min < self._css_baseline:
                self.in_css = False  # the rise was a spike: back to slow start
            return acked // CSS_GROWTH_DIVISOR
        if self._samples >= N_RTT_SAMPLE and self._last_min:
            threshold = max(MIN_RTT_THRESH_NS, min(self._last_min // MIN_RTT_DIVISOR, MAX_RTT_THRESH_NS))
            if self._current_min >= self._last_min + threshold:
                self.in_css = True
                self._css_baseline = self._current_min
                self._css_rounds = 0
        return acked

    def _begin_round(self, flight: int) -> None:
        if self.in_css:
            self._css_rounds += 1
            if self._css_rounds >= CSS_ROUNDS:
                self.leaves_slow_start = True
        self._last_min = self._current_min
        self._current_min = 0
        self._samples = 0
        self._round_left = flight
