"""BALIA, the balanced linked adaptation (draft-walid-mptcp-congestion-control): friendliness against responsiveness."""

from __future__ import annotations

from typing import ClassVar, Final

from testbed.mptcp.congestion.group import Coupled

LARGEST_DECREASE: Final = 1.5
"""Bound of a_r in the decrease: at least a quarter of the window is left."""


class Balia(Coupled):
    """With x = w/rtt and a_r = max x / x_r: per acknowledged segment x_r / (rtt_r (sum of x)^2) (1 + a)/2 (4 + a)/5."""

    __slots__ = ()

    name: ClassVar[str] = "balia"

    def _ratio(self, members: list[Coupled]) -> float:
        """a_r."""
        own = self.window / self.mss / self.srtt if self.srtt else 0.0
        largest = max(member.window / member.mss / member.srtt for member in members)
        return largest / own if own else 1.0

    def avoid_coupled(self, acked: int, members: list[Coupled]) -> None:
        """Congestion avoidance."""
        rate = 0.0
        for member in members:
            rate += member.window / member.mss / member.srtt
        own = self.cwnd / self.mss / self.srtt
        a = self._ratio(members)
        self.grow(own / (self.srtt * rate * rate) * (1.0 + a) / 2.0 * (4.0 + a) / 5.0 * acked)

    def reduced_ssthresh(self, flight: int) -> int:
        """w - w/2 min(a_r, 1.5), at least two segments."""
        members = self.group.active()
        a = self._ratio(members) if members and self.srtt else 1.0
        decrease = flight / 2.0 * (a if a < LARGEST_DECREASE else LARGEST_DECREASE)
        return max(int(flight - decrease), 2 * self.mss)
