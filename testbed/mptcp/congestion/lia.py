"""LIA, the linked increases of RFC 6356: no more in total than one TCP on the best path."""

from __future__ import annotations

from typing import ClassVar

from testbed.mptcp.congestion.group import Coupled


class Lia(Coupled):
    """RFC 6356 §3."""

    __slots__ = ()

    name: ClassVar[str] = "lia"

    def avoid_coupled(self, acked: int, members: list[Coupled]) -> None:
        """min(alpha * acked * MSS_i / cwnd_total, acked * MSS_i / cwnd_i), at least one octet."""
        total = 0
        best = 0.0
        rate = 0.0
        for member in members:
            window = member.window
            member_srtt = member.srtt
            total += window
            speed = window / member_srtt
            rate += speed
            if speed / member_srtt > best:
                best = speed / member_srtt
        # alpha (§4.1): what makes the aggregate no more aggressive than one TCP on the path of the best.
        alpha = total * best / (rate * rate) if rate else 1.0
        coupled = alpha * acked * self.mss / total if total else 0.0
        alone = acked * self.mss / self.cwnd
        self.cwnd += max(int(coupled if coupled < alone else alone), 1)
