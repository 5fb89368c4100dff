"""F-RTO (RFC 5682 §2.1): was a retransmission timeout spurious? Two ACKs after it decide."""

from __future__ import annotations


class Frto:
    """Phase 1 waits for the first ACK after the timeout, phase 2 for the second; 0: off."""

    __slots__ = ("enabled", "new_octets_left", "new_octets_sent", "phase")

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self.phase = 0
        self.new_octets_left = 0
        """New data that may still leave in phase 2 (step 2b: up to two segments)."""
        self.new_octets_sent = 0

    @property
    def waits_for_second_ack(self) -> bool:
        """New data leaves instead of retransmissions."""
        return self.phase == 2

    def timed_out(self, is_first: bool) -> None:
        """Step 1: only for the first timeout, outside of any recovery."""
        self.phase = 1 if self.enabled and is_first else 0

    def new_data_sent(self, octets: int) -> None:
        """New data has left."""
        if self.phase == 2:
            self.new_octets_sent += octets
            self.new_octets_left = max(self.new_octets_left - octets, 0)

    def gives_up_without_new_data(self) -> bool:
        """Step 2b has nothing new to send: the conventional recovery goes on. True: it does from now on."""
        if self.phase == 2 and not self.new_octets_sent:
            self.phase = 0
            return True
        return False

    def acknowledged(self, advances: bool, smss: int) -> bool:
        """An ACK below the recovery point; True: the timeout was spurious (step 3b)."""
        if not advances:
            self.phase = 0  # steps 2a, 3a: a duplicate ACK: something was lost
            return False
        if self.phase == 2:
            self.phase = 0
            return True
        self.phase = 2
        self.new_octets_left = 2 * smss
        self.new_octets_sent = 0
        return False
