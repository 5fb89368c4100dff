"""CUBIC (RFC 9438), with HyStart++ (RFC 9406) as its §4.10 recommends, or without."""

from __future__ import annotations

from typing import ClassVar, Final

from testbed.tcp.hystart import HyStart
from testbed.tcp.reno import Reno

C: Final = 0.4
"""RFC 9438 §4.1, in segments per second cubed."""
BETA_TENTHS: Final = 7
BETA: Final = BETA_TENTHS / 10
"""RFC 9438 §4.6."""
ALPHA: Final = 3.0 * (1.0 - BETA) / (1.0 + BETA)
"""RFC 9438 §4.3: additive increase of the Reno-friendly region, in segments per RTT."""
NS: Final = 1e-9


class Cubic(Reno):
    """W(t) = C (t - K)^3 + W_max in congestion avoidance; windows inside the formulas are in segments."""

    __slots__ = ("_cubic_before", "_fraction", "cwnd_prior", "epoch_at", "hystart", "k", "w_est", "w_max")

    name: ClassVar[str] = "cubic"

    def __init__(self, initial: int | None = None, hystart: bool = False) -> None:
        super().__init__(initial)
        self.hystart = HyStart() if hystart else None
        self.w_max = 0.0
        """Window before the last reduction (after fast convergence); 0: none yet."""
        self.k = 0.0
        """Seconds from the start of the epoch until W_max is reached again."""
        self.epoch_at = -1
        """ns; -1: the next ACK in congestion avoidance starts an epoch."""
        self.cwnd_prior = 0.0
        """Window before the last reduction, in segments."""
        self.w_est = 0.0
        """What Reno would have reached in this epoch."""
        self._fraction = 0.0
        """Octets of growth that are not whole yet."""
        self._cubic_before = (0.0, 0.0, -1, 0.0, 0.0)

    def on_ack(self, now: int, acked: int, srtt: int, rtt: int | None, flight: int, is_cwnd_limited: bool) -> None:
        """Slow start (RFC 9438 §4.10: as Reno or HyStart++), else the cubic function."""
        if not is_cwnd_limited:
            if self.epoch_at >= 0:
                # §5.8: the clock of the function stands still while the application sends less than it may.
                self.epoch_at = -1
            return
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked) if self.hystart is None else self._hystart_ack(now, acked, rtt, flight)
            if not acked:
                return
        self.avoid(now, acked, srtt)

    def _hystart_ack(self, now: int, acked: int, rtt: int | None, flight: int) -> int:
        hystart = self.hystart
        assert hystart is not None
        grow = hystart.on_ack(acked, rtt, flight, self.mss)
        if hystart.leaves_slow_start:
            self.ssthresh = self.cwnd
            return acked
        return self.slow_start(grow)

    def avoid(self, now: int, acked: int, srtt: int) -> None:
        """RFC 9438 §4.2 to §4.5."""
        mss = self.mss
        window = self.cwnd / mss
        if self.epoch_at < 0:
            self._begin_epoch(now, window)
        t = (now - self.epoch_at) * NS
        segments = acked / mss
        # §4.3: the Reno-friendly estimate; once it has passed cwnd_prior, Reno's own alpha of 1.
        alpha = ALPHA if self.w_est < self.cwnd_prior else 1.0
        self.w_est += alpha * segments / window
        offset = t - self.k
        w_cubic = C * offset * offset * offset + self.w_max
        if w_cubic < self.w_est:
            grown = self.w_est * mss
            if grown > self.cwnd:
                self.cwnd = int(grown)
            return
        # §4.4, §4.5: towards where the function will be in one RTT, at most half as much again.
        offset += srtt * NS
        target = C * offset * offset * offset + self.w_max
        if target > 1.5 * window:
            target = 1.5 * window
        if target > window:
            growth = self._fraction + (target - window) / window * acked
            whole = int(growth)
            self._fraction = growth - whole
            self.cwnd += whole

    def _begin_epoch(self, now: int, window: float) -> None:
        self.epoch_at = now
        self._fraction = 0.0
        self.w_est = window
        if self.w_max > window:
            self.k = ((self.w_max - window) / C) ** (1.0 / 3.0)
        else:
            # §4.8, §4.10: after slow start without a congestion event, or growth beyond W_max: convex from here.
            self.k = 0.0
            self.w_max = window

    def reduced_ssthresh(self, flight: int) -> int:
        """RFC 9438 §4.6: beta times what is in flight, at least two segments."""
        return max(flight * BETA_TENTHS // 10, 2 * self.mss)

    def on_congestion_event(self, now: int, flight: int) -> None:
        """RFC 9438 §4.6, and fast convergence (§4.7)."""
        self._remember()
        super().on_congestion_event(now, flight)
        self._lower_w_max()

    def on_timeout(self, now: int, flight: int) -> None:
        """RFC 9438 §4.8: as Reno, but with beta; K is 0 when avoidance begins again."""
        self._remember()
        super().on_timeout(now, flight)
        # W_max is forgotten: the epoch after the slow start begins at its own window.
        self.w_max = 0.0
        self.epoch_at = -1
        self.cwnd_prior = self._before[0] / self.mss
        if self.hystart is not None:
            self.hystart.restart()

    def _remember(self) -> None:
        self._cubic_before = (self.w_max, self.k, self.epoch_at, self.cwnd_prior, self.w_est)

    def _lower_w_max(self) -> None:
        window = self.cwnd_prior = self.cwnd / self.mss
        self.w_max = window * (1.0 + BETA) / 2.0 if window < self.w_max else window
        self.epoch_at = -1
        if self.hystart is not None:
            self.hystart.leaves_slow_start = True

    def on_spurious(self, now: int) -> None:
        """RFC 9438 §4.9: restore the function as well."""
        super().on_spurious(now)
        self.w_max, self.k, self.epoch_at, self.cwnd_prior, self.w_est = self._cubic_before

    def on_idle(self, now: int, idle_ns: int, rto_ns: int) -> None:
        """The function's clock does not count the silence."""
        super().on_idle(now, idle_ns, rto_ns)
        self.epoch_at = -1
