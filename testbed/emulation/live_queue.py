"""A managed queue on real frames: packets wait in the model, and are scheduled when they have left it.

When the line is free is one more thing that the relay's heap says. Super-segments are taken apart first: each packet
waits, is dropped and is marked on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from testbed.emulation.frames import corrupted, ecn_of, flow_of, marked_ce
from testbed.emulation.live_direction import LiveDirection, Schedule
from testbed.emulation.middleboxes import LiveMiddleboxes
from testbed.emulation.packet_socket import VNET_BYTES, PacketSocket
from testbed.emulation.segmentation import UnsupportedSegmentError, parse
from testbed.net.link import LinkDirection
from testbed.net.managed_direction import ManagedDirection
from testbed.net.middlebox import FORWARD
from testbed.net.queues import Waiting
from testbed.net.schedule import NEVER_NS

_CE = 3


class LiveManagedDirection(LiveDirection):
    """A :class:`LiveDirection` whose model is a :class:`ManagedDirection`."""

    __slots__ = ("_armed_ns", "_managed")

    def __init__(
        self,
        model: ManagedDirection,
        source: PacketSocket,
        sink: PacketSocket,
        epoch_ns: int,
        schedule: Schedule,
        release_due: Callable[[], None],
        way: int = FORWARD,
        middleboxes: LiveMiddleboxes | None = None,
    ) -> None:
        super().__init__(model, source, sink, epoch_ns, schedule, release_due, way, middleboxes)
        self._managed = model
        self._armed_ns = NEVER_NS

    def line_is_free(self, now_ns: int) -> None:
        """The line can take what waits."""
        self._armed_ns = NEVER_NS
        self._go_on(self._managed.handle_timeout(now_ns - self.epoch_ns))

    def _impaired(self, frame: bytes, now_ns: int) -> None:
        if not frame[1]:
            self._packet_arrives(frame, now_ns)
            return
        try:
            segment = parse(frame)
        except UnsupportedSegmentError:
            self.unsupported_frames += 1
            return
        self.super_segments += 1
        for index in range(segment.count):
            self._packet_arrives(segment.cut(index, index + 1), now_ns)
            if index & 15 == 15:  # as for other super-segments
                self._release_due()

    def _packet_arrives(self, frame: bytes, now_ns: int) -> None:
        size_bytes = len(frame) - VNET_BYTES
        self._go_on(self._managed.arrives_managed(frame, size_bytes, ecn_of(frame) != 0, flow_of(frame), now_ns))

    def _go_on(self, left: Sequence[Waiting]) -> None:
        epoch_ns, busy_since_ns = self.epoch_ns, self.model.line.busy_since_ns
        for item in left:
            frame: bytes = item.packet
            if item.is_marked and ecn_of(frame) != _CE:
                frame = marked_ce(frame)
            if item.corrupt_at is not None:
                frame = corrupted(frame, item.corrupt_at)
            self._schedule(item.release_ns + epoch_ns, self, frame, 1, item.size_bytes, busy_since_ns)
        due_ns = self._managed.next_timeout()
        if due_ns < self._armed_ns:
            self._armed_ns = due_ns
            self._schedule(due_ns + epoch_ns, self, b"", 0, 0, 0)


def live_direction(
    model: LinkDirection,
    source: PacketSocket,
    sink: PacketSocket,
    epoch_ns: int,
    schedule: Schedule,
    release_due: Callable[[], None],
    way: int,
    middleboxes: LiveMiddleboxes | None,
) -> LiveDirection:
    """What a model needs around it."""
    if isinstance(model, ManagedDirection):
        return LiveManagedDirection(model, source, sink, epoch_ns, schedule, release_due, way, middleboxes)
    return LiveDirection(model, source, sink, epoch_ns, schedule, release_due, way, middleboxes)
