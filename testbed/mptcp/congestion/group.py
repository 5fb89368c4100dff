"""The subflows of one connection as congestion control sees them: a group of controllers that know their siblings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from testbed.tcp.reno import Reno
from testbed.tcp.seam import CongestionController


class Group:
    """Controllers of one connection, in the order of their subflows."""

    __slots__ = ("_factory", "_initial_window", "members")

    def __init__(
        self,
        factory: Callable[[Group, int | None], CongestionController],
        initial_window: int | None = None,
    ) -> None:
        self._factory = factory
        self._initial_window = initial_window
        self.members: list[Coupled] = []
        """Of coupled ones; the uncoupled need not know each other."""

    def new_controller(self) -> CongestionController:
        """Make the controller of a new subflow."""
        return self._factory(self, self._initial_window)

    def forget(self, controller: CongestionController) -> None:
        """Leave a subflow that is gone out of the sums."""
        self.members = [member for member in self.members if member is not controller]

    def active(self) -> list[Coupled]:
        """Those that have carried data: a subflow in its handshake has no window to couple."""
        return [member for member in self.members if member.srtt > 0]


class Coupled(Reno):
    """Base of the coupled controllers: slow start, timeout and recovery are Reno's (RFC 6356 §3: only the increase in
    congestion avoidance is coupled)."""

    __slots__ = ("_fraction", "group", "is_recovering", "srtt")

    name: ClassVar[str] = "coupled"

    def __init__(self, group: Group, initial: int | None = None) -> None:
        super().__init__(initial)
        self.group = group
        group.members.append(self)
        self.srtt = 0
        """ns; 0: no sample yet."""
        self.is_recovering = False
        self._fraction = 0.0
        """Octets of growth (or shrinking) that are not whole yet."""

    @property
    def window(self) -> int:
        """cwnd as the siblings count it: ssthresh during fast recovery, when cwnd is a device (RFC 6356 §3)."""
        return self.ssthresh if self.is_recovering else self.cwnd

    def on_established(self, now: int, mss: int, srtt: int | None) -> None:
        """Set the initial window; from the handshake's RTT on the subflow counts."""
        super().on_established(now, mss, srtt)
        if srtt:
            self.srtt = srtt

    def on_ack(self, now: int, acked: int, srtt: int, rtt: int | None, flight: int, is_cwnd_limited: bool) -> None:
        """Keep the RTT for the siblings, then as Reno."""
        self.srtt = srtt
        super().on_ack(now, acked, srtt, rtt, flight, is_cwnd_limited)

    def avoid(self, now: int, acked: int, srtt: int) -> None:
        """Congestion avoidance; as Reno while there is no RTT (a lost SYN, no timestamps, only retransmissions yet), or
        no group any more (the data level has given the subflow up)."""
        members = self.group.active()
        if srtt and members:
            self.avoid_coupled(acked, members)
        else:
            super().avoid(now, acked, srtt)

    def avoid_coupled(self, acked: int, members: list[Coupled]) -> None:
        """The algorithm's own increase; ``members``: the active subflows, nearly always with this one."""
        raise NotImplementedError

    def grow(self, octets: float) -> None:
        """Change cwnd by a fraction; never below one segment."""
        growth = self._fraction + octets
        whole = int(growth)
        self._fraction = growth - whole
        self.cwnd = max(self.cwnd + whole, self.mss)

    def on_congestion_event(self, now: int, flight: int) -> None:
        """Lower ssthresh; until the end of the recovery that is the window that counts."""
        super().on_congestion_event(now, flight)
        self.is_recovering = True

    def on_recovery_exit(self, now: int) -> None:
        """Count cwnd again."""
        super().on_recovery_exit(now)
        self.is_recovering = False

    def on_timeout(self, now: int, flight: int) -> None:
        """Slow start from one segment, as Reno."""
        super().on_timeout(now, flight)
        self.is_recovering = False

    def on_spurious(self, now: int) -> None:
        """Take the reduction back."""
        super().on_spurious(now)
        self.is_recovering = False
