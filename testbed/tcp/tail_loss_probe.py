"""State of the tail loss probe (RFC 8985 §7): a loss at the end of a flight is found without waiting for the RTO."""

from __future__ import annotations

from typing import ClassVar

from testbed.tcp.parameters import MS


class TailLossProbe:
    """At most one probe is outstanding."""

    MAX_ACK_DELAY_NS: ClassVar[int] = 200 * MS
    """TLP.max_ack_delay: what the peer's delayed ACK may add when a single segment is in flight."""

    __slots__ = ("due", "end", "is_retransmission")

    def __init__(self) -> None:
        self.due = False
        """The probe timer has expired; the probe has not left yet."""
        self.end = 0
        """TLP.end_seq: snd_nxt when the probe left; 0: none is outstanding."""
        self.is_retransmission = False

    def sent(self, end: int, *, is_retransmission: bool) -> None:
        """The probe has left."""
        self.due = False
        self.end = end
        self.is_retransmission = is_retransmission
