"""Explicit Congestion Notification of one connection (RFC 3168 §6.1)."""

from __future__ import annotations


class EcnState:
    """What was negotiated, and what each side still owes the other."""

    __slots__ = ("asked", "cwr_due", "echo", "on")

    def __init__(self) -> None:
        self.asked = False
        """Our SYN carries ECE and CWR (ECN-setup SYN, §6.1.1)."""
        self.on = False
        self.echo = False
        """CE has arrived: every ACK carries ECE until the peer says CWR (§6.1.3)."""
        self.cwr_due = False
        """The window was reduced: the next new data carries CWR (§6.1.2)."""
