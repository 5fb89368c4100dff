"""TCP Fast Open beneath MPTCP (RFC 8684 appendix B): the SYN's data is outside the data sequence space.

Only octets that the SYN/ACK acknowledges were carried by the SYN: they have no DSN, and the first mapping begins after
them with SSN 1 (B22). The rest is in TCP's send buffer already; it gets a mapping like any other data (B23).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp.send_queue import Mapping, declare_checksum
from testbed.tcp.state import SYN_SENT, Event

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow

SYN_OPTION_OCTETS: Final = 40
"""Deducted from the MSS for the data of a SYN: its option area may be full."""


class SynData:
    """What a client gave to TCP before the handshake; one for each connection."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = b""

    def give(self, connection: Connection, subflow: Subflow) -> None:
        """The SYN is about to leave with a cookie: data that the user has given already rides on it."""
        tcp = subflow.tcp
        if self.data or tcp.state is not SYN_SENT or tcp.snd_nxt or not tcp.fast_open.cookie:
            return
        queue = connection.send_queue
        length = min(queue.unsent_octets, tcp.mss - SYN_OPTION_OCTETS)
        if length > 0:
            self.data = queue.take(length)
            tcp.send(self.data, 0)

    def answered(self, connection: Connection, subflow: Subflow) -> None:
        """The SYN/ACK is there, before the keys are put to use: what it acknowledges is done with."""
        taken = min(subflow.tcp.fast_open.syn_data, len(self.data))
        if taken:
            connection.send_queue.leave_out(taken)
            subflow.ssn_offset = taken
            self.data = self.data[taken:]

    def declare_rest(self, connection: Connection, subflow: Subflow) -> None:
        """DSNs are known (or there will be none): what the SYN did not carry is mapped where it stands in TCP."""
        if not self.data:
            return
        queue = connection.send_queue
        mapping = Mapping(queue.snd_nxt - len(self.data), 1 + subflow.ssn_offset, self.data)
        mapping.carriers = 1 << subflow.number
        if connection.checksum:
            declare_checksum(mapping, subflow.ssn_offset)
        queue.sent(mapping)
        subflow.outgoing.append(mapping)
        self.data = b""


def take_syn_data(connection: Connection, subflow: Subflow, now: int) -> bool:
    """Server: data that came with a good cookie is the user's at once. Whether there was any."""
    octets = subflow.tcp.fast_open.syn_data
    if not octets:
        return False
    subflow.peer_ssn_offset = octets
    connection.arrival.data_arrives(subflow, subflow.tcp.take_received(), now)
    connection.tell(Event.READABLE)
    return True
