"""OLIA, the opportunistic linked increases (draft-khalili-mptcp-congestion-control): Pareto-optimal, and responsive."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.congestion.group import Coupled, Group


class Olia(Coupled):
    """Per acknowledged segment w_r grows by w_r/rtt_r^2 / (sum of w_p/rtt_p)^2 + alpha_r/w_r, windows in segments."""

    __slots__ = ("acked_before_loss", "acked_since_loss")

    name: ClassVar[str] = "olia"

    def __init__(self, group: Group, initial: int | None = None) -> None:
        super().__init__(group, initial)
        self.acked_before_loss = 0
        """Octets acknowledged between the last two losses (l1)."""
        self.acked_since_loss = 0
        """Octets acknowledged since the last loss (l2)."""

    @property
    def between_losses(self) -> int:
        """l_r: the larger of the two, the estimate of 1 / loss rate in octets."""
        return max(self.acked_before_loss, self.acked_since_loss)

    def on_ack(self, now: int, acked: int, srtt: int, rtt: int | None, flight: int, is_cwnd_limited: bool) -> None:
        """Count what gets through, then as ever."""
        self.acked_since_loss += acked
        super().on_ack(now, acked, srtt, rtt, flight, is_cwnd_limited)

    def on_congestion_event(self, now: int, flight: int) -> None:
        """A loss: l1 takes the place of l2."""
        self._loss()
        super().on_congestion_event(now, flight)

    def on_timeout(self, now: int, flight: int) -> None:
        """A loss as well."""
        self._loss()
        super().on_timeout(now, flight)

    def _loss(self) -> None:
        self.acked_before_loss = self.acked_since_loss
        self.acked_since_loss = 0

    def reduced_ssthresh(self, flight: int) -> int:
        """Half, but with several paths down to one segment: a bad path must not be kept at two."""
        several = len(self.group.members) > 1
        return max(flight >> 1, self.mss if several else 2 * self.mss)

    def alpha(self, members: list[Coupled]) -> float:
        """Shift towards the best paths that do not have the largest window yet; it sums to 0 over the paths."""
        largest = max(member.window for member in members)
        best = max(_quality(member) for member in members)
        collected = 0
        widest = 0
        am_collected = False
        for member in members:
            if member.window == largest:
                widest += 1
            elif _quality(member) == best:
                collected += 1
                am_collected = am_collected or member is self
        if not collected:
            return 0.0
        if am_collected:
            return 1.0 / (len(members) * collected)
        return -1.0 / (len(members) * widest) if self.window == largest else 0.0

    def avoid_coupled(self, acked: int, members: list[Coupled]) -> None:
        """Congestion avoidance."""
        rate = 0.0
        for member in members:
            rate += member.window / member.mss / member.srtt
        own = self.cwnd / self.mss
        coupled = own / (self.srtt * self.srtt) / (rate * rate) if rate else 0.0
        self.grow((coupled + self.alpha(members) / own) * acked)


def _quality(member: Coupled) -> float:
    """l_p / rtt_p^2: the square of the rate that a TCP would have on this path, up to a factor."""
    return member.between_losses / (member.srtt * member.srtt) if isinstance(member, Olia) else 0.0
