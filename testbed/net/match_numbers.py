"""The numbers of a packet that a match can compare (``topologies.match_words.NUMBERS``)."""

from __future__ import annotations

from typing import Final

from testbed.wire.options import MpTcprst
from testbed.wire.segment import Segment

ABSENT: Final = -1
"""The packet has no such number."""


def number_of(segment: Segment, what: str) -> int:
    """The number of that word; ABSENT where the packet has none."""
    if what == "payload":
        return len(segment.payload)
    if what == "window":
        return segment.window
    if what == "option_octets":
        return sum([option.size for option in segment.options])
    if what == "mptcp_octets":
        return sum([option.size for option in segment.mptcp])
    if what == "sack_blocks":
        return 0 if segment.sack is None else len(segment.sack.blocks)
    if what == "reset_reason":
        for option in segment.mptcp:
            if isinstance(option, MpTcprst):
                return option.reason
        return ABSENT
    dss = segment.dss
    if dss is None:
        return ABSENT
    if what == "dss.ack_octets":
        return 0 if dss.data_ack is None else dss.ack_octets
    if what == "dss.dsn_octets":
        return 0 if dss.dsn is None else dss.dsn_octets
    assert what == "dss.length", what
    return ABSENT if dss.dsn is None else dss.length
