"""One decision about the options of one segment: what was wanted, what is in, what waits. The ledger reads it, too."""

from __future__ import annotations

from testbed.mptcp.packing import Area
from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.seam import SegmentPlan
from testbed.wire.options import Dss, MptcpOption
from testbed.wire.segment import SYN


class Draft:
    """One answer to one question of TCP. Made by :class:`testbed.mptcp.option_draft.Drafter`."""

    __slots__ = (
        "area",
        "dss",
        "handshake",
        "is_ack_first",
        "mapping",
        "never_fit",
        "own",
        "own_fits_later",
        "repeats_data_ack",
        "repeats_mapping",
        "sent_dss",
        "signals",
        "split_end",
        "split_start",
        "wanted_cookie",
        "wanted_handshake",
        "wanted_signals",
        "wanted_timestamps",
    )

    def __init__(self, area: Area, plan: SegmentPlan) -> None:
        self.area = area
        self.wanted_timestamps = plan.timestamps is not None
        self.wanted_cookie = (
            len(plan.fast_open_cookie) if plan.flags & SYN and plan.fast_open_cookie is not None else -1
        )
        """Octets of the Fast Open cookie (0: a request); -1: none."""
        self.wanted_handshake: MptcpOption | None = None
        self.handshake: MptcpOption | None = None
        """The one that is in."""
        self.own: OutgoingMapping | None = None
        """The mapping of the segment's data."""
        self.mapping: OutgoingMapping | None = None
        """The mapping that it is to carry: usually its own."""
        self.dss: Dss | None = None
        """The DSS wanted."""
        self.sent_dss: Dss | None = None
        """The DSS that is in: the one wanted, or less."""
        self.repeats_mapping = False
        self.repeats_data_ack = False
        self.wanted_signals: list[MptcpOption] = []
        self.signals: list[MptcpOption] = []
        """Those of them that are in."""
        self.never_fit: list[MptcpOption] = []
        self.is_ack_first = False
        """A pure ACK ahead of data that was ready."""
        self.own_fits_later = False
        """The mapping waits by policy (late), not for want of room."""
        self.split_start = -1
        """SSN at which the second half begins, when this is the first half of a split segment (S23)."""
        self.split_end = -1
