"""Abrupt ends of the whole connection: MP_FASTCLOSE (RFC 8684 §3.5), and a reset of the last subflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import resets
from testbed.tcp.state import Event, Failure
from testbed.wire.options import MpFastclose
from testbed.wire.segment import RST, Segment

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow

RETRANSMISSIONS: Final = 3
"""RFC 8684 §3.5: RECOMMENDED limit of retransmissions of MP_FASTCLOSE on an ACK, then a RST with it (I3)."""


class FastClose:
    """The aborting side's FASTCLOSE_WAIT and the answer of the other side."""

    __slots__ = ("carrier", "connection", "deadline", "retransmissions", "waits")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.carrier: Subflow | None = None
        """The subflow that MP_FASTCLOSE left on (option A)."""
        self.deadline: int | None = None
        self.retransmissions = 0
        self.waits = False
        """FASTCLOSE_WAIT."""

    def abort(self, now: int) -> None:
        """The user aborts: by option A or R, as the parameters say (I1)."""
        connection = self.connection
        remote_key = connection.keys.remote_key
        if connection.fallen_back or remote_key is None:
            for subflow in list(connection.subflows):
                subflow.tcp.abort(now)
            self._over(now)
            return
        if connection.parameters.fast_close == "ack":
            self._option_a(remote_key, now)
            return
        connection.counters.add("MPTcpExtMPFastcloseTx")
        for subflow in list(connection.subflows):
            if not subflow.is_gone:
                connection.signalling.reset_subflow(subflow, resets.UNSPECIFIED, now, first=MpFastclose(remote_key))
        self._over(now)

    def _option_a(self, remote_key: int, now: int) -> None:
        """MP_FASTCLOSE on an ACK of one subflow, RST on all others, then FASTCLOSE_WAIT."""
        connection = self.connection
        carrier = connection.signalling.carrier()
        for subflow in list(connection.subflows):
            if subflow is not carrier and not subflow.is_gone:
                connection.signalling.reset_subflow(subflow, resets.UNSPECIFIED, now)
        connection.discard_data()
        if carrier is None:
            self._over(now)
            return
        self.carrier = carrier
        self.waits = True
        self._signal(carrier, remote_key, now)

    def _signal(self, carrier: Subflow, remote_key: int, now: int) -> None:
        self.connection.counters.add("MPTcpExtMPFastcloseTx")
        carrier.signal(MpFastclose(remote_key))
        self.deadline = now + carrier.tcp.rto

    def handle_timeout(self, now: int) -> None:
        """No RST came within an RTO: again, three times; then a RST that carries it (I3)."""
        if self.deadline is None or now < self.deadline:
            return
        carrier = self.carrier
        remote_key = self.connection.keys.remote_key
        assert carrier is not None and remote_key is not None
        if self.retransmissions < RETRANSMISSIONS:
            self.retransmissions += 1
            self._signal(carrier, remote_key, now)
            return
        self.deadline = None
        self.connection.signalling.reset_subflow(carrier, resets.UNSPECIFIED, now, first=MpFastclose(remote_key))
        self._over(now)

    def arrived(self, subflow: Subflow, segment: Segment, option: MpFastclose, now: int) -> bool:
        """MP_FASTCLOSE: acted upon only with our key (I2). True: the connection is over."""
        connection = self.connection
        if option.receiver_key != connection.keys.local_key:
            connection.counters.add("TestbedMPFastcloseBadKey")
            return False
        connection.counters.add("MPTcpExtMPFastcloseRx")
        was_ours = self.waits
        self.waits = False
        # The ACK form is answered by RST on all subflows; a simultaneous one likewise. To a RST nothing is said, but
        # the other subflows may still be open.
        for other in list(connection.subflows):
            if not other.is_gone and not (other is subflow and segment.flags & RST):
                connection.signalling.reset_subflow(other, resets.UNSPECIFIED, now)
        if not was_ours:
            connection.fail(Event.RESET, Failure.RESET)
        self._over(now)
        return True

    def carrier_lost(self, now: int) -> None:
        """In FASTCLOSE_WAIT the RST has come: done."""
        self._over(now)

    def _over(self, now: int) -> None:
        self.waits = False
        self.deadline = None
        connection = self.connection
        connection.discard_data()
        connection.closing.force_closed()
        connection.signalling.stop()
        connection.check_closed()
