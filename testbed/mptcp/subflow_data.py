"""What one subflow carries of the connection's data: its mappings in both directions and its part in scheduling.

Base class of :class:`testbed.mptcp.subflow.Subflow`, and what the option builder and the schedulers see of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp.echoed_mappings import EchoedMappings
from testbed.mptcp.mapping import IncomingMappings, UnmappedData
from testbed.mptcp.send_queue import Mapping, OutgoingMappings
from testbed.mptcp.subflow_view import OutgoingMapping, SubflowView
from testbed.wire.checksum import dss_checksum

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.option_space import SubflowOptions
    from testbed.tcp.connection import Connection as TcpConnection

_LEAST_MAPPINGS: Final = 1024
_DEFAULT_MSS: Final = 536
"""RFC 9293 §3.7.1."""


class SubflowData(SubflowView):
    """The data level's half of a subflow."""

    __slots__ = (
        "acknowledged_bare",
        "acknowledged_to",
        "carries_to",
        "connection",
        "deadline",
        "echoed",
        "fin_arrived",
        "heard_bare",
        "incoming",
        "infinite_from",
        "infinite_mapping",
        "is_due",
        "is_gone",
        "is_stale",
        "last_data_ack",
        "last_dsn",
        "last_length",
        "last_ssn",
        "last_window",
        "number",
        "option_policy",
        "outgoing",
        "penalised_until",
        "send_edge",
        "size",
        "sized_for",
        "swallowed",
        "swallowed_at",
        "tcp",
        "timeouts_seen",
        "unmapped",
        "untaken",
        "witness",
    )

    tcp: TcpConnection
    option_policy: SubflowOptions

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.number = connection.next_subflow_number()
        """Counts the subflows of the connection: bit ``number`` of ``Mapping.carriers``."""
        rules = connection.parameters.rules
        # --- receiving ---
        limit = rules.mappings_limit
        if limit is None:
            limit = max(_LEAST_MAPPINGS, connection.parameters.receive_buffer // _DEFAULT_MSS)
        self.incoming = IncomingMappings(limit, rules.accept_sub_mapping)
        self.unmapped = UnmappedData()
        self.last_ssn = -1
        """The mapping last seen, as on the wire: the next segment usually repeats it."""
        self.last_dsn = -1
        self.last_length = -1
        self.last_data_ack = -1
        """The DATA_ACK last believed, as on the wire, and the window (unscaled) that came with it: while neither
        changes there is nothing to work in."""
        self.last_window = -1
        self.fin_arrived = False
        # --- sending ---
        self.outgoing = OutgoingMappings()
        self.infinite_mapping: Mapping | None = None
        """Ours, until a segment that carried it is acknowledged (K3, K7)."""
        self.infinite_from = 0
        """TCP's offset of the first octet whose segment carries it."""
        self.echoed: EchoedMappings | None = None
        """Ours on pure ACKs, where the policy repeats them until they are echoed (N14)."""
        if connection.parameters.options.map_until_echoed:
            self.echoed = EchoedMappings()
        self.untaken: list[tuple[Mapping, int]] = []
        """Mappings of which TCP's buffer could not take all: from this octet on it has to follow."""
        self.acknowledged_to = 1
        """SSN up to which the subflow's acknowledgments have been worked in."""
        self.acknowledged_bare = False
        """The last segment that acknowledged new data of it had no MPTCP option: the peer may have gone over to TCP."""
        self.heard_bare = False
        """The last segment of all had no DSS."""
        self.send_edge = 0
        """DATA_ACK + window as this subflow's segments last announced it (W6: MUST remember)."""
        self.carries_to = 0
        """DSN up to which a redundant scheduler has filled it."""
        self.is_stale = False
        """Its retransmission timer has expired without progress since: others are preferred (``SubflowStale``)."""
        self.is_gone = False
        self.is_due = True
        """Something has happened to its TCP since it was last asked what may leave."""
        self.deadline: int | None = None
        """TCP's next timeout when it was last asked."""
        self.penalised_until = 0
        self.timeouts_seen = 0
        self.swallowed = 0
        """How often in a row the connection's timer found its oldest data acknowledged by this subflow, the only one to
        carry it, and not DATA_ACKed."""
        self.witness: Mapping | None = None
        """The next that it alone had carried then: if it has delivered that since, it is none that delivers nothing."""
        self.swallowed_at = 0
        """SSN acknowledged when it did last."""
        self.size = 0
        self.sized_for = -1

    # --- SubflowView: options ---

    def mapping_for(self, ssn: int, length: int) -> OutgoingMapping | None:
        """The mapping declared for ``ssn``; the infinite one while that is owed."""
        infinite = self.infinite_mapping
        if infinite is not None:
            return infinite
        if self.connection.fallen_back:
            return None
        last = self.outgoing.last_found
        if last is not None and last.ssn <= ssn < last.ssn + last.length:
            return last
        return self.outgoing.find(ssn)

    def infinite_mapping_due(self, is_fin: bool) -> bool:
        """On a pure ACK once, as no data of ours may ever follow; on each FIN, which is repeated until it has arrived:
        to a peer that has not heard of the fallback, a FIN alone ends a subflow and no data (D20)."""
        infinite = self.infinite_mapping
        return infinite is not None and (is_fin or infinite.carried_at < 0)

    def data_ack(self) -> int:
        """The next DSN expected by the connection."""
        return self.connection.data_ack

    def is_last_data(self, end: int) -> bool:
        """All that the user gave has left, this subflow's part up to ``end``; but for less than a packet, which Nagle's
        algorithm may hold until what is out is acknowledged."""
        return end >= self.tcp.snd_end and self.connection.send_queue.unsent_octets < self.segment_size()

    def ask_for_acks(self) -> None:
        """One on each that can send; none after a fallback, which would carry nothing."""
        if self.connection.fallen_back:
            return
        for subflow in self.connection.subflows:
            if subflow.usable():
                subflow.tcp.ack_now()

    def bare_data_fin(self) -> int:
        """Our DATA_FIN's DSN from when all data has been scheduled until it is DATA_ACKed."""
        return self.connection.data_fin_due

    def bare_data_fin_checksum(self) -> int | None:
        """D21: over the pseudo-header alone."""
        connection = self.connection
        if not connection.checksum:
            return None
        return dss_checksum(connection.data_fin_due, 0, 1, 0)

    def mapping_due(self, now: int) -> OutgoingMapping | None:
        """None that is DATA_ACKed: the peer has read it."""
        echoed = self.echoed
        return None if echoed is None else echoed.due(now, self.connection.send_queue.snd_una)

    def mapping_announced(self, mapping: OutgoingMapping, now: int) -> None:
        """Waits for its echo from now on."""
        if self.echoed is not None:
            if self.echoed.has_left(mapping, now, self.tcp.rto) > 1:
                self.connection.counters.add("TestbedMappingsAnnouncedAgain")
            self.connection.signalling.has_timers = True

    # --- SubflowView: scheduling ---

    @property
    def may_send_data(self) -> bool:
        """The handshake allows it (the subclass knows)."""
        raise NotImplementedError

    def usable(self) -> bool:
        """May carry data now (the subclass knows)."""
        raise NotImplementedError

    def send_room(self, now: int) -> int:
        """What the congestion window leaves; 0 when that is less than a packet while something is outstanding: nobody
        would send it, and a scheduler that chose this subflow for it would starve the others."""
        room = self.tcp.send_room(now)
        if room <= 0:
            return 0
        if room < (self.size or self.segment_size()):
            tcp = self.tcp
            if tcp.send_buffer.end != tcp.snd_una:
                return 0
        return room

    def smoothed_rtt(self) -> int:
        """SRTT in ns; 0: none yet."""
        return self.tcp.recovery.rtt.srtt

    def rtt_deviation(self) -> int:
        """RTTVAR in ns."""
        return self.tcp.rttvar or 0

    def congestion_window(self) -> int:
        """Octets."""
        return self.tcp.cwnd

    def outstanding(self) -> int:
        """Octets in flight or waiting in the subflow."""
        tcp = self.tcp
        return tcp.snd_end - tcp.snd_una

    def segment_size(self) -> int:
        """Payload octets of a full packet with timestamps, DSS and the SACK blocks that wait now (RFC 6691)."""
        tcp = self.tcp
        blocks = tcp.queue.blocks
        waiting = 0 if not blocks or not tcp.sack_on else min(len(blocks), 4)
        key = tcp.mss << 4 | waiting << 1 | self.peer_sends_wide_dsn
        if key != self.sized_for:
            connection = self.connection
            if connection.fallen_back:
                options = 12 if tcp.timestamps_on else 0
            else:
                options = self.option_policy.data_option_octets(tcp.timestamps_on, waiting, connection.checksum)
            self.sized_for = key
            self.size = tcp.mss - options
        return self.size

    def uncarried(self) -> int:
        """Octets not DATA_ACKed that this subflow has not carried."""
        queue = self.connection.send_queue
        return queue.snd_end - max(self.carries_to, queue.snd_una)

    # --- what became of it ---

    def send_mapping(self, mapping: Mapping, now: int) -> int:
        """Give the mapping's data to TCP at the SSN that the mapping states; the octets taken."""
        self.outgoing.append(mapping)
        self.is_due = True
        return self.tcp.send(mapping.data, now)

    def forget_data(self) -> None:
        """Free all that only a living subflow needs."""
        self.incoming.clear()
        self.unmapped.take()
        self.outgoing.clear()
        self.infinite_mapping = None
        self.echoed = None
        self.witness = None
