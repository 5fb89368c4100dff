"""A managed queue in virtual time: the event at which its line is free."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from testbed.net.managed_direction import ManagedDirection
from testbed.net.queues import Waiting
from testbed.net.schedule import NEVER_NS
from testbed.net.simulator import Simulator
from testbed.wire.segment import ECN_NOT_ECT, Segment, SocketAddress

_TCP = b"\x06"


class QueueServer:
    """Serves the queue of one direction."""

    __slots__ = ("_armed_ns", "_direction", "_flows", "_leave", "_simulator")

    def __init__(
        self,
        simulator: Simulator,
        direction: ManagedDirection,
        leave: Callable[[Segment, Any, Waiting], None],
    ) -> None:
        """``leave(segment, way, waiting)`` takes what left the queue, with the time of its release."""
        self._simulator = simulator
        self._direction = direction
        self._leave = leave
        self._flows: dict[tuple[SocketAddress, SocketAddress], bytes] = {}
        self._armed_ns = NEVER_NS
        """Of the earliest event that is due; one that comes too early to do anything is harmless."""

    def arrives(self, segment: Segment, way: Any, octets: int) -> None:
        """A packet comes to the queue; ``way`` is where it goes on."""
        key = (segment.source, segment.destination)
        flow = self._flows.get(key)
        if flow is None:
            flow = self._flows[key] = flow_of(segment)
        now_ns = self._simulator.now_ns
        capable = segment.ecn != ECN_NOT_ECT
        self._go_on(self._direction.arrives_managed((segment, way), octets, capable, flow, now_ns))

    def _go_on(self, left: list[Waiting]) -> None:
        for item in left:
            segment, way = item.packet
            self._leave(segment, way, item)
        due_ns = self._direction.next_timeout()
        if due_ns < self._armed_ns:
            self._armed_ns = due_ns
            self._simulator.post(due_ns, self._line_is_free, ())

    def _line_is_free(self) -> None:
        self._armed_ns = NEVER_NS
        self._go_on(self._direction.handle_timeout(self._simulator.now_ns))


def flow_of(segment: Segment) -> bytes:
    """The 5-tuple, in the bytes in which ``testbed.emulation.frames.flow_of`` finds it in a packet."""
    source, destination = segment.source, segment.destination
    ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return b"".join((source.host, destination.host, _TCP, ports))
