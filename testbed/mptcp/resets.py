"""Why a subflow is reset: the reasons of MP_TCPRST (RFC 8684 §3.6, §7.4) and resets without a subflow."""

from __future__ import annotations

from typing import Final

from testbed.wire.options import MpTcprst
from testbed.wire.segment import ACK, RST, Segment

UNSPECIFIED: Final = 0
MPTCP_SPECIFIC: Final = 1
LACK_OF_RESOURCES: Final = 2
PROHIBITED: Final = 3
OUTSTANDING_DATA: Final = 4
UNACCEPTABLE_PERFORMANCE: Final = 5
MIDDLEBOX: Final = 6

REASONS: Final = {
    UNSPECIFIED: "unspecified error",
    MPTCP_SPECIFIC: "MPTCP-specific error",
    LACK_OF_RESOURCES: "lack of resources",
    PROHIBITED: "administratively prohibited",
    OUTSTANDING_DATA: "too much outstanding data",
    UNACCEPTABLE_PERFORMANCE: "unacceptable performance",
    MIDDLEBOX: "middlebox interference detected",
}


def answer_with_reset(segment: Segment, reason: int | None = None) -> Segment:
    """The RST for a segment that belongs to nothing here (RFC 9293 §3.10.7.1), with MP_TCPRST if a reason is given.

    With an ACK, its number makes the RST acceptable; without one the RST acknowledges what came.
    """
    options = () if reason is None else (MpTcprst(reason),)
    if segment.flags & ACK:
        return Segment(segment.destination, segment.source, segment.ack, 0, RST, 0, options)
    ack = (segment.seq + segment.seq_length) & 0xFFFFFFFF
    return Segment(segment.destination, segment.source, 0, ack, RST | ACK, 0, options)
