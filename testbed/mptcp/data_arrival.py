"""What arrives at the data level of one connection: mappings, the data they map, and what goes wrong with either.

The receiver's rules (:class:`testbed.mptcp.parameters.ReceiverRules`) decide about mappings that are late, odd or
missing; function names in brackets are Linux's (net/mptcp/subflow.c), whose counters are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.mptcp import resets
from testbed.mptcp.dsn import expand
from testbed.mptcp.mapping import IncomingMapping, Verdict
from testbed.wire.checksum import is_dss_checksum_right, ones_complement_sum
from testbed.wire.options import Dss, MapEcho, MpCapable
from testbed.wire.segment import SYN, Segment
from testbed.wire.serial import widen

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.subflow import Subflow


class DataArrival:
    """The receiving side of the data level; one for each connection."""

    __slots__ = ("connection", "hold_ns", "rules")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rules = connection.parameters.rules
        hold = self.rules.hold_unmapped
        self.hold_ns: int | None = None if isinstance(hold, str) else hold
        """None: until a receive window of data has come without a mapping (D10)."""

    # --- mappings ---

    def mapping_arrives(self, subflow: Subflow, segment: Segment, dss: Dss, now: int) -> bool:
        """A DSS with a mapping that is not the one seen last. False: the subflow is reset, or TCP spoken."""
        connection = self.connection
        assert dss.dsn is not None
        subflow.last_dsn = dss.dsn
        subflow.last_ssn = dss.ssn
        subflow.last_length = dss.length
        connection.peer_dsn_is_wide(dss.dsn_octets == 8)
        dsn = expand(dss.dsn, dss.dsn_octets, connection.receive_queue.rcv_nxt)
        length = dss.length
        if not length:
            return connection.fallback.infinite_mapping_arrived(subflow, dsn, dss.ssn, now)
        if (dss.checksum is not None) != connection.checksum:
            return self._checksum_presence(subflow, now)
        if dss.data_fin:
            length -= 1
            if not length:  # a bare DATA_FIN maps no octet of the subflow (D21)
                if dss.checksum is not None and not is_dss_checksum_right(dss.checksum, dsn, dss.ssn, 1, 0):
                    connection.counters.add("MPTcpExtDataCsumErr")
                else:
                    self._peer_fin(subflow, dsn, now)
                return True
        ssn = widen(dss.ssn, subflow.tcp.rcv_nxt - subflow.peer_ssn_offset) + subflow.peer_ssn_offset
        return self._declare(subflow, segment, ssn, dsn, length, dss.checksum, dss.data_fin, now)

    def capable_mapping_arrives(self, subflow: Subflow, segment: Segment, option: MpCapable, now: int) -> bool:
        """First data: MP_CAPABLE with a Data-Level Length stands for a mapping of SSN 1 to IDSN + 1 (B12, B13)."""
        connection = self.connection
        if (option.checksum is not None) != connection.checksum:
            return self._checksum_presence(subflow, now)
        assert option.data_length is not None and connection.keys.remote_idsn is not None
        first_ssn = 1 + subflow.peer_ssn_offset
        first_dsn = connection.keys.remote_idsn + 1
        return self._declare(subflow, segment, first_ssn, first_dsn, option.data_length, option.checksum, False, now)

    def _declare(
        self,
        subflow: Subflow,
        segment: Segment,
        ssn: int,
        dsn: int,
        length: int,
        checksum: int | None,
        data_fin: bool,
        now: int,
    ) -> bool:
        rules = self.rules
        if not segment.payload:
            if not rules.mapping_on_pure_ack:
                subflow.last_dsn = -1  # what repeats it is no repetition
                return True  # S19: Linux attaches mappings to data only
        elif rules.mapping_must_touch_segment:
            start = subflow.tcp.offset_of(segment.seq) + (1 if segment.flags & SYN else 0)
            if ssn >= start + len(segment.payload) or ssn + length <= start:
                return self.violation(subflow, "MPTcpExtDSSNoMatchTCP", resets.MPTCP_SPECIFIC, now)
        queue = self.connection.receive_queue
        if ssn - subflow.tcp.rcv_nxt > max(dsn - queue.rcv_nxt, 0) + queue.capacity:
            # W3: SSN - SUBFLOW_ACK <= DSN - DATA_ACK, but for what was sent twice, which a window bounds.
            self.connection.counters.add("TestbedMappingImplausible")
            subflow.last_dsn = -1
            return True
        verdict = subflow.incoming.declare(ssn, dsn, length, checksum, data_fin)
        if rules.echo_mappings and not segment.payload and (verdict is Verdict.STORED or verdict is Verdict.KNOWN):
            subflow.signal(MapEcho((ssn - subflow.peer_ssn_offset) & 0xFFFF_FFFF))
            subflow.last_ssn = -1  # the same again is to be answered again: the echo may be lost
        if verdict is Verdict.STORED:
            self.connection.mapping_heard = True
            if data_fin and checksum is None:
                self._peer_fin(subflow, dsn + length, now)
            if subflow.unmapped.pieces and rules.accept_late_mapping:
                self._map_again(subflow, now)
            return not subflow.is_gone
        if verdict is Verdict.KNOWN:
            if data_fin and (checksum is None or self._fits_alone(subflow, segment, ssn, dsn, length, checksum)):
                self._peer_fin(subflow, dsn + length, now)
            return True
        if verdict is Verdict.TOO_MANY:
            self.connection.counters.add("TestbedMappingsDropped")
            subflow.last_dsn = -1
            return True
        return self.violation(subflow, "MPTcpExtDSSNotMatching", resets.MPTCP_SPECIFIC, now)

    def _fits_alone(self, subflow: Subflow, segment: Segment, ssn: int, dsn: int, length: int, checksum: int) -> bool:
        """A DATA_FIN that was added to data sent before: its checksum fits, as far as this segment can show it."""
        if len(segment.payload) != length or subflow.tcp.offset_of(segment.seq) != ssn:
            return False
        wire_ssn = ssn - subflow.peer_ssn_offset
        return is_dss_checksum_right(checksum, dsn, wire_ssn, length + 1, ones_complement_sum(segment.payload))

    def _peer_fin(self, subflow: Subflow, dsn: int, now: int) -> None:
        """A DATA_FIN whose mapping (and checksum, if there is one) is believed."""
        if self.connection.closing.peer_fin(dsn, now):
            subflow.tcp.ack_now()

    def _checksum_presence(self, subflow: Subflow, now: int) -> bool:
        """D2: a checksum that was not negotiated, or none though it was. Linux falls back where it can (E6d-f)."""
        return self.violation(subflow, "MPTcpExtDSSNotMatching", resets.MPTCP_SPECIFIC, now, must_reset=True)

    # --- data ---

    def data_arrives(self, subflow: Subflow, received: list[tuple[int, bytes]], now: int) -> None:
        """In-order data of the subflow, with its SSNs."""
        connection = self.connection
        queue = connection.receive_queue
        incoming = subflow.incoming
        rcv_nxt = queue.rcv_nxt
        for ssn, payload in received:
            mapping = incoming.current
            end = ssn + len(payload)
            if (
                mapping is not None
                and mapping.ssn <= ssn
                and end <= mapping.end
                and mapping.checksum is None
                and not subflow.unmapped.pieces
            ):
                incoming.mapped_to = end
                queue.add(mapping.dsn + ssn - mapping.ssn, payload)
                if end == mapping.end:
                    incoming.done_to(end)
            elif connection.fallen_back:
                self._plain(subflow, ssn, payload)
            else:
                self._map(subflow, ssn, payload, now)
                if subflow.is_gone:
                    break
        if queue.rcv_nxt != rcv_nxt:
            connection.received(now)

    def _plain(self, subflow: Subflow, ssn: int, payload: bytes) -> None:
        """After fallback TCP's order is the stream's order: nothing is looked up, so nothing can be shifted."""
        subflow.incoming.mapped_to = ssn + len(payload)
        if not self.connection.closing.peer_fin_reached:  # what comes after the end are copies
            self.connection.receive_queue.append(payload)

    def _map(self, subflow: Subflow, ssn: int, payload: bytes, now: int) -> None:
        """The general case: several mappings, gaps between them, checksums, data before its mapping."""
        connection = self.connection
        if ssn < 1 + subflow.peer_ssn_offset:
            payload = self._fast_open_data(subflow, ssn, payload)
            ssn = 1 + subflow.peer_ssn_offset
        if connection.fallback.failed is subflow:
            subflow.unmapped.add(ssn, payload, now)
            self._check_held(subflow, now)
            return
        whole = payload
        start = ssn
        while payload:
            mapping = subflow.incoming.covering(ssn)
            if mapping is None:
                following = subflow.incoming.next_start(ssn)
                size = len(payload) if following is None else min(following - ssn, len(payload))
                is_part = size < len(whole)
                if is_part and not self.rules.accept_partly_mapped_segment:
                    self._corruption(subflow, ssn, payload, now)
                    return
                if not self._unmapped(subflow, ssn, payload[:size], payload, now):
                    return
            else:
                size = min(mapping.end - ssn, len(payload))
                if (
                    size < len(payload)
                    and not self.rules.accept_partly_mapped_segment
                    and subflow.incoming.covering(ssn + size) is None
                ):
                    self._corruption(subflow, ssn, payload, now)
                    return
                piece = payload if size == len(payload) else payload[:size]
                if subflow.unmapped.pieces:
                    subflow.unmapped.is_passed = True
                if mapping.checksum is None:
                    connection.receive_queue.add(mapping.dsn + ssn - mapping.ssn, piece)
                elif not self._checked(subflow, mapping, piece, payload, now):
                    return
            ssn += size
            payload = payload[size:]
        if not subflow.unmapped.pieces:
            subflow.incoming.done_to(start + len(whole))

    def _fast_open_data(self, subflow: Subflow, ssn: int, payload: bytes) -> bytes:
        """Octets of the SYN's payload come first in the stream but have no DSN (B22)."""
        outside = 1 + subflow.peer_ssn_offset - ssn
        self.connection.receive_queue.append_outside(payload[:outside])
        return payload[outside:]

    def _checked(self, subflow: Subflow, mapping: IncomingMapping, piece: bytes, payload: bytes, now: int) -> bool:
        """Data is delivered once all of its mapping has come and fits the checksum (``validate_data_csum``)."""
        if not mapping.collect(piece):
            return True
        queue = self.connection.receive_queue
        if mapping.is_intact(subflow.peer_ssn_offset):
            dsn = mapping.dsn
            for collected in mapping.pieces:
                queue.add(dsn, collected)
                dsn += len(collected)
            mapping.pieces = []
            if mapping.data_fin:
                self._peer_fin(subflow, dsn, now)
            return True
        self.connection.counters.add("MPTcpExtDataCsumErr")
        self.connection.fallback.checksum_failed(subflow, mapping, payload[len(piece) :], now)
        return False

    # --- data without a mapping ---

    def _unmapped(self, subflow: Subflow, ssn: int, piece: bytes, payload: bytes, now: int) -> bool:
        """In-order data without a mapping; False: it is dealt with, and so is the rest of ``payload``."""
        connection = self.connection
        at_start = not connection.mapping_heard and subflow.is_initial and connection.may_fall_back()
        if at_start or self.hold_ns == 0:
            if at_start and self.rules.on_missing_mapping == "reset":
                # K3: the very first data shows that no MPTCP option passes on data: TCP, whatever the rules.
                connection.fall_back("MPTcpExtDssFallback", now)
                self._plain(subflow, ssn, payload)
                return False
            return self._missing(subflow, ssn, payload, now)
        connection.counters.add("TestbedUnmappedPeak", subflow.unmapped.add(ssn, piece, now))
        connection.counters.add("TestbedUnmappedHeld")
        self._check_held(subflow, now)
        return not subflow.is_gone and not connection.fallen_back

    def _check_held(self, subflow: Subflow, now: int) -> None:
        """D10: a receive window of data without a mapping is enough."""
        if subflow.unmapped.octets >= self.connection.receive_queue.capacity:
            self._missing(subflow, subflow.incoming.mapped_to, b"", now)

    def _missing(self, subflow: Subflow, ssn: int, payload: bytes, now: int) -> bool:
        """No mapping came for it in time (``MAPPING_NODSS``)."""
        connection = self.connection
        action = self.rules.on_missing_mapping
        if action == "discard":
            subflow.unmapped.take()
            subflow.unmapped.has_lost = True
            connection.counters.add("TestbedUnmappedDiscarded")
            subflow.incoming.done_to(ssn + len(payload))
            return False
        if action == "fallback-or-reset" and connection.may_fall_back():
            connection.fall_back("MPTcpExtDssFallback", now)
            self._plain(subflow, ssn, payload)
            return False
        connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)
        return False

    def _map_again(self, subflow: Subflow, now: int) -> None:
        """A mapping has come for data that is held."""
        connection = self.connection
        queue = connection.receive_queue
        rcv_nxt = queue.rcv_nxt
        unmapped = subflow.unmapped
        was_passed = unmapped.is_passed
        pieces = unmapped.take()
        unmapped.is_passed = was_passed
        unmapped.is_tried_again = True
        for ssn, payload in pieces:
            if connection.fallen_back:
                self._plain(subflow, ssn, payload)
                continue
            self._map(subflow, ssn, payload, now)
            if subflow.is_gone:
                break
        unmapped.is_tried_again = False
        if not unmapped.pieces:
            unmapped.is_passed = False
        if queue.rcv_nxt != rcv_nxt:
            connection.received(now)

    def late_mapping(self, subflow: Subflow, segment: Segment, now: int) -> bool:
        """A segment that TCP has refused as old may still bring the mapping of data that is held: a retransmission
        (S14). Believed only if it lies in what is held and acknowledges nothing unsent (A3's checks, RFC 5961 §5)."""
        dss = segment.dss
        if dss is None or dss.dsn is None or not dss.length or not segment.payload or segment.flags & SYN:
            return False
        tcp = subflow.tcp
        start = tcp.offset_of(segment.seq)
        if start < subflow.incoming.mapped_to or start + len(segment.payload) > tcp.rcv_nxt:
            return False
        if tcp.snd_offset_of(segment.ack) > tcp.snd_nxt:
            return False
        return self.mapping_arrives(subflow, segment, dss, now)

    def next_timeout(self) -> int | None:
        """When the first data has been held for long enough."""
        if not self.hold_ns:
            return None
        first: int | None = None
        for subflow in self.connection.subflows:
            since = subflow.unmapped.since()
            if since is not None and not subflow.is_gone and (first is None or since + self.hold_ns < first):
                first = since + self.hold_ns
        return first

    def handle_timeout(self, now: int) -> None:
        """Data has been held for long enough."""
        if not self.hold_ns:
            return
        for subflow in list(self.connection.subflows):
            since = subflow.unmapped.since()
            if since is not None and not subflow.is_gone and now >= since + self.hold_ns:
                self._missing(subflow, subflow.incoming.mapped_to, b"", now)

    # --- violations ---

    def _corruption(self, subflow: Subflow, ssn: int, payload: bytes, now: int) -> None:
        """Part of a segment has no mapping, under rules that take that as corruption (``mptcp_dss_corruption``)."""
        connection = self.connection
        if self.rules.on_violation == "fallback-or-reset" and connection.may_fall_back():
            connection.fall_back("MPTcpExtDSSCorruptionFallback", now)
            self._plain(subflow, ssn, payload)
            return
        connection.counters.add("MPTcpExtDSSCorruptionReset")
        connection.signalling.reset_subflow(subflow, resets.MPTCP_SPECIFIC, now)

    def violation(self, subflow: Subflow, counter: str, reason: int, now: int, must_reset: bool = False) -> bool:
        """The peer broke a rule about mappings. True: go on with the segment (the offending part is ignored)."""
        connection = self.connection
        connection.counters.add(counter)
        action = self.rules.on_violation
        if action == "discard" and not must_reset:
            return True
        if action == "fallback-or-reset" and connection.may_fall_back():
            connection.fall_back("MPTcpExtDssFallback", now)
            return True  # its data follows as plain bytes
        connection.signalling.reset_subflow(subflow, reason, now)
        return False
