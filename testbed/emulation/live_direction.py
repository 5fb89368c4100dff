"""One direction of a link on real frames: asks the model about each wire packet and keeps the books.

A frame that is one packet is asked about once. A super-segment is asked about once per wire packet in it; neighbours
that come out intact, in order and close together leave as one unit, at the time of its last packet, so that none is
early. A unit spans at most ``UNIT_SPAN_NS`` of releases: at low rates every packet is its own unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from testbed.emulation.busy_periods import BusyPeriods
from testbed.emulation.frames import corrupted, is_impaired
from testbed.emulation.lateness import LatenessHistogram
from testbed.emulation.middleboxes import LiveMiddleboxes
from testbed.emulation.packet_socket import VNET_BYTES, PacketSocket
from testbed.emulation.protocol import DirectionReport
from testbed.emulation.segmentation import SuperSegment, UnsupportedSegmentError, parse
from testbed.net.link import Drop, LinkDirection, Outcome
from testbed.net.middlebox import FORWARD

UNIT_SPAN_NS = 1_000_000

Schedule = Callable[[int, "LiveDirection", bytes, int, int, int], None]
"""``(due_ns, direction, frame, packets, wire_bytes, busy_since_ns)``: hand the frame to the sink when it is due
(CLOCK_MONOTONIC). ``packets`` 0 marks a frame that the model does not count."""


class LiveDirection:
    """A model between two sockets, from ``epoch_ns`` on."""

    __slots__ = (
        "_arrived_ns",
        "_busy",
        "_release_due",
        "_schedule",
        "bypassed_frames",
        "epoch_ns",
        "lateness",
        "middleboxes",
        "model",
        "released_bytes",
        "released_packets",
        "send_errors",
        "sink",
        "source",
        "super_segments",
        "unsupported_frames",
        "way",
    )

    def __init__(
        self,
        model: LinkDirection,
        source: PacketSocket,
        sink: PacketSocket,
        epoch_ns: int,
        schedule: Schedule,
        release_due: Callable[[], None],
        way: int = FORWARD,
        middleboxes: LiveMiddleboxes | None = None,
    ) -> None:
        self.model = model
        self.way = way
        self.middleboxes = middleboxes
        """Those of the link handle packets as they arrive, before the model; None: most links have none."""
        self.source = source
        self.sink = sink
        self.epoch_ns = epoch_ns
        self.lateness = LatenessHistogram()
        self.released_packets = 0
        self.released_bytes = 0
        self.bypassed_frames = 0
        self.super_segments = 0
        self.unsupported_frames = 0
        self.send_errors = 0
        """Packets that the sink refused."""
        self._arrived_ns = 0
        self._busy = BusyPeriods()
        self._schedule = schedule
        self._release_due = release_due

    def frame_arrives(self, frame: bytes, monotonic_ns: int) -> None:
        """A frame, virtio header first, arrived at that time."""
        now_ns = monotonic_ns - self.epoch_ns
        if now_ns < self._arrived_ns:  # the model's time does not go backwards
            now_ns = self._arrived_ns
        else:
            self._arrived_ns = now_ns
        if not is_impaired(frame):
            self._bypass(frame, now_ns)
        elif self.middleboxes is not None:
            self.middleboxes.frame_arrives(frame, self.way, now_ns)
        else:
            self._impaired(frame, now_ns)

    def enters(self, frame: bytes, now_ns: int) -> None:
        """A frame comes out of the middleboxes, in the time of the model."""
        if now_ns < self._arrived_ns:
            now_ns = self._arrived_ns
        else:
            self._arrived_ns = now_ns
        self._impaired(frame, now_ns)

    def _impaired(self, frame: bytes, now_ns: int) -> None:
        """The link model decides."""
        if frame[1]:
            self._super_segment_arrives(frame, now_ns)
        else:
            size_bytes = len(frame) - VNET_BYTES
            outcome = self.model.arrives(size_bytes, now_ns)
            if isinstance(outcome, int):
                self._schedule(outcome + self.epoch_ns, self, frame, 1, size_bytes, self.model.line.busy_since_ns)
            else:
                self._schedule_special(outcome, frame)

    def line_is_free(self, now_ns: int) -> None:
        """What was scheduled without a frame is due. Only a managed queue schedules such."""

    def released(self, packets: int, wire_bytes: int, busy_since_ns: int, due_ns: int, at_ns: int) -> None:
        """A scheduled frame was handed to the sink at ``at_ns``."""
        if packets:
            self.released_packets += packets
            self.released_bytes += wire_bytes
            self.lateness.add(at_ns - due_ns, packets)
            self._busy.released(busy_since_ns, due_ns, at_ns)

    def report(self) -> DirectionReport:
        """The books as they are now."""
        counters = self.model.counters
        late = self.lateness.summary()
        busy_ns, rate_error = self._busy.rate_error()
        return DirectionReport(
            arrived_packets=counters.arrived_packets,
            arrived_bytes=counters.arrived_bytes,
            delivered_packets=self.released_packets,
            delivered_bytes=self.released_bytes,
            in_flight_packets=counters.arrived_packets
            + counters.duplicated
            - counters.dropped()
            - self.released_packets
            - self.send_errors,
            dropped_loss=counters.dropped_loss,
            dropped_overflow=counters.dropped_overflow,
            dropped_outage=counters.dropped_outage,
            dropped_middlebox=0 if self.middleboxes is None else self.middleboxes.dropped(self.way),
            changed_middlebox=0 if self.middleboxes is None else self.middleboxes.changed(self.way),
            marked_ce=counters.marked_ce,
            duplicated=counters.duplicated,
            corrupted=counters.corrupted,
            reordered=counters.reordered,
            queue_max_packets=self.model.line.max_packets,
            queue_max_bytes=self.model.line.max_bytes,
            bypassed_frames=self.bypassed_frames,
            super_segments=self.super_segments,
            unsupported_frames=self.unsupported_frames,
            send_errors=self.send_errors,
            socket_drops=self.source.read_statistics(),
            late_p50_ns=late.p50_ns,
            late_p99_ns=late.p99_ns,
            late_p999_ns=late.p999_ns,
            late_max_ns=late.max_ns,
            busy_ns=busy_ns,
            rate_error=rate_error,
        )

    def _bypass(self, frame: bytes, now_ns: int) -> None:
        self.bypassed_frames += 1
        release_ns = self.model.bypasses(now_ns)
        if not isinstance(release_ns, Drop):
            self._schedule(release_ns + self.epoch_ns, self, frame, 0, 0, 0)

    def _schedule_special(self, outcome: Outcome, packet: bytes) -> None:
        """A single packet that is dropped, duplicated, corrupted or reordered."""
        if isinstance(outcome, tuple):
            busy_since_ns = self.model.line.busy_since_ns
            size_bytes = len(packet) - VNET_BYTES
            for delivery in outcome:
                frame = packet if delivery.corrupt_at is None else corrupted(packet, delivery.corrupt_at)
                self._schedule(delivery.release_ns + self.epoch_ns, self, frame, 1, size_bytes, busy_since_ns)

    def _super_segment_arrives(self, frame: bytes, now_ns: int) -> None:
        try:
            segment = parse(frame)
        except UnsupportedSegmentError:
            self.unsupported_frames += 1
            return
        self.super_segments += 1
        arrives = self.model.arrives
        full_bytes = segment.wire_bytes(0)
        outcomes: list[Outcome] = []
        for index in range(segment.count - 1):
            outcomes.append(arrives(full_bytes, now_ns))
            if index & 15 == 15:  # deciding about 64 KiB takes a while, and other frames become due meanwhile
                self._release_due()
        outcomes.append(arrives(segment.wire_bytes(segment.count - 1), now_ns))
        self._schedule_units(segment, outcomes)

    def _schedule_units(self, segment: SuperSegment, outcomes: Sequence[Outcome]) -> None:
        first, first_ns, last_ns = -1, 0, 0  # the open unit: its first packet, and the releases of first and last
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, int):
                if first >= 0 and last_ns <= outcome <= first_ns + UNIT_SPAN_NS:
                    last_ns = outcome
                    continue
                if first >= 0:
                    self._schedule_unit(segment, first, index, last_ns)
                first, first_ns, last_ns = index, outcome, outcome
            else:
                if first >= 0:
                    self._schedule_unit(segment, first, index, last_ns)
                    first = -1
                if isinstance(outcome, tuple):
                    self._schedule_special(outcome, segment.cut(index, index + 1))
        if first >= 0:
            self._schedule_unit(segment, first, len(outcomes), last_ns)

    def _schedule_unit(self, segment: SuperSegment, first: int, end: int, release_ns: int) -> None:
        wire_bytes = (end - first - 1) * segment.wire_bytes(0) + segment.wire_bytes(end - 1)
        busy_since_ns = self.model.line.busy_since_ns
        due_ns = release_ns + self.epoch_ns
        self._schedule(due_ns, self, segment.cut(first, end), end - first, wire_bytes, busy_since_ns)
