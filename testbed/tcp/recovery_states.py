"""The states of a sender's loss recovery (the names of Linux's ``tcp_ca_state``), and what its timers ask for."""

from __future__ import annotations

from enum import Enum
from typing import Final

OPEN: Final = 0
"""Nothing suspicious."""
DISORDER: Final = 1
"""Duplicate ACKs or SACKs, not enough to call it a loss."""
RECOVERY: Final = 2
"""Fast recovery until ``recovery_point``."""
LOSS: Final = 3
"""After a retransmission timeout, until ``recovery_point``."""


class TimeoutAction(Enum):
    """What a timer asks the connection to do, by running its transmission as usual."""

    NOTHING = "nothing"
    RETRANSMIT = "retransmit"
    """There are losses to send again."""
    PROBE_TAIL = "probe-tail"
    """One new segment, whatever cwnd says; if there is none, ``segment_without_new_data``."""
