"""The relay: reads frames, asks the links' models, and releases each frame when it is due.

One thread, one select, one heap of releases. What makes it punctual: a timer slack of 1 ns (:mod:`realtime`), select
instead of a poll with milliseconds, due frames served before and between reads.

A frame that is read late did not arrive late: the kernel's receive stamp says when it came. Without that, a relay that
shares its processor loses line capacity, drops from a queue that was not full, and is late by its wake-up. The first
frame of each turn is stamped, and the next ones for as long as the stamps are old; a stamp costs a system call.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
import select
import time
from collections.abc import Sequence

from testbed.emulation.live_direction import LiveDirection
from testbed.emulation.live_queue import live_direction
from testbed.emulation.middleboxes import LiveMiddleboxes
from testbed.emulation.packet_socket import LARGEST_FRAME_BYTES, VNET_BYTES, PacketSocket
from testbed.emulation.protocol import AppliedChange, LinkConfiguration, LinkReport, Report
from testbed.net.chance import derive_seed
from testbed.net.managed_direction import direction_of
from testbed.net.middlebox import BACKWARD, FORWARD, Chain
from testbed.net.schedule import NEVER_NS, changes_for
from topologies.link_profile import LinkProfile
from topologies.link_text import describe_change

SHORTEST_FRAME_BYTES = VNET_BYTES + 14
LATE_READ_NS = 50_000
"""A frame that waited longer than this makes the next one be asked for its stamp too."""

CLOCK_STEP_NS = 1_000_000
"""A larger change of CLOCK_REALTIME against CLOCK_MONOTONIC between two looks is a step of the clock, not a pause."""

READS_PER_TURN = 32
"""Frames read from one socket before due releases are looked at again."""

_monotonic_ns = time.monotonic_ns


def at_rest(profile: LinkProfile) -> LinkProfile:
    """What holds before the start: traces stand still at their means, and queues are drop-tail, since a discipline
    drops what is sent to measure the line."""
    still = profile.untraced()
    if still.queue is None or still.queue.discipline is None:
        return still
    return dataclasses.replace(still, queue=dataclasses.replace(still.queue, discipline=None))


class LiveLink:
    """A configured link between two open sockets; its models are replaced at the start."""

    __slots__ = ("_applied", "_epoch_ns", "_pending", "a", "b", "backward", "configuration", "forward", "middleboxes")

    def __init__(self, configuration: LinkConfiguration) -> None:
        self.configuration = configuration
        self.a = PacketSocket(configuration.a_interface)
        self.b = PacketSocket(configuration.b_interface)
        self.forward: LiveDirection
        self.backward: LiveDirection
        self.middleboxes: LiveMiddleboxes | None

    def renew(self, relay: Relay, epoch_ns: int, with_changes: bool) -> None:
        """Fresh models and counters from ``epoch_ns`` on; without changes, the links are :func:`at_rest`."""
        link = self.configuration
        changes = link.changes if with_changes else ()
        profiles = (link.forward, link.backward)
        ahead, back = profiles if with_changes else (at_rest(profile) for profile in profiles)
        forward = direction_of(ahead, changes_for("forward", changes), derive_seed(link.seed, "forward"))
        backward = direction_of(back, changes_for("backward", changes), derive_seed(link.seed, "backward"))
        lists = (link.middleboxes, link.forward.middleboxes, link.backward.middleboxes)
        boxes = self.middleboxes = LiveMiddleboxes(Chain(*lists, link.seed)) if any(lists) else None
        due = (relay.schedule, relay.release_due)
        self.forward = live_direction(forward, self.a, self.b, epoch_ns, *due, FORWARD, boxes)
        self.backward = live_direction(backward, self.b, self.a, epoch_ns, *due, BACKWARD, boxes)
        if boxes is not None:
            boxes.lead_to(self.forward, self.backward)
        for port in (self.a, self.b):
            port.read_statistics()
            port.dropped = 0
        self._epoch_ns = epoch_ns
        self._applied: list[AppliedChange] = []
        self._pending = sorted(changes, key=lambda change: change.at_ns, reverse=True)

    def next_change_ns(self) -> int:
        """CLOCK_MONOTONIC time of the next scheduled change, or NEVER_NS."""
        return self._pending[-1].at_ns + self._epoch_ns if self._pending else NEVER_NS

    def observe_changes(self, monotonic_ns: int) -> None:
        """Note the changes that have taken effect."""
        now_ns = monotonic_ns - self._epoch_ns
        while self._pending and self._pending[-1].at_ns <= now_ns:
            change = self._pending.pop()
            words = describe_change(change)
            what = words if change.direction == "both" else f"{change.direction}: {words}"
            self._applied.append(AppliedChange(change.at_ns, now_ns, what))

    def report(self) -> LinkReport:
        """Both directions and the changes so far."""
        return LinkReport(
            name=self.configuration.name,
            forward=self.forward.report(),
            backward=self.backward.report(),
            changes=tuple(self._applied),
            middleboxes=() if self.middleboxes is None else self.middleboxes.report(),
        )

    def close(self) -> None:
        """Leave both interfaces."""
        self.a.close()
        self.b.close()


class Relay:
    """All links of one process."""

    __slots__ = (
        "_boxes",
        "_buffer",
        "_clock_offset_ns",
        "_cpu_ns",
        "_epoch_ns",
        "_heap",
        "_links",
        "_next_change_ns",
        "_ports",
        "_sequence",
        "_started_ns",
        "_view",
        "scheduler",
    )

    def __init__(self, links: Sequence[LinkConfiguration], scheduler: str) -> None:
        self.scheduler = scheduler
        self._heap: list[tuple[int, int, LiveDirection, bytes, int, int, int]] = []
        self._sequence = 0
        self._started_ns: int | None = None
        self._clock_offset_ns = time.time_ns() - _monotonic_ns()
        self._buffer = bytearray(LARGEST_FRAME_BYTES)
        self._view = memoryview(self._buffer)
        self._links = [LiveLink(link) for link in links]
        self._renew(with_changes=False)

    def start(self) -> int:
        """Fresh models, zeroed counters, schedules from now on; the CLOCK_MONOTONIC time of it."""
        self._started_ns = self._renew(with_changes=True)
        return self._started_ns

    def schedule(
        self, due_ns: int, direction: LiveDirection, frame: bytes, packets: int, wire_bytes: int, busy_since_ns: int
    ) -> None:
        """Release ``frame`` at ``due_ns``; frames due at the same time keep their order. Without a frame, the direction
        is told at that time that its line is free."""
        self._sequence += 1
        heapq.heappush(self._heap, (due_ns, self._sequence, direction, frame, packets, wire_bytes, busy_since_ns))

    def release_due(self) -> None:
        """Hand every frame that is due to its interface."""
        heap = self._heap
        while heap:
            now_ns = _monotonic_ns()
            if heap[0][0] > now_ns:
                return
            due_ns, _, direction, frame, packets, wire_bytes, busy_since_ns = heapq.heappop(heap)
            if not frame:
                direction.line_is_free(now_ns)
                continue
            try:
                direction.sink.send(frame)
            except OSError:
                direction.send_errors += packets or 1
            else:
                direction.released(packets, wire_bytes, busy_since_ns, due_ns, now_ns)

    def run_until_readable(self, control: int) -> None:
        """Forward until something can be read from the file descriptor ``control``."""
        ports = self._ports
        descriptors = [control, *ports]
        heap = self._heap
        while True:
            wake_ns = heap[0][0] if heap else NEVER_NS
            if self._next_change_ns < wake_ns:
                wake_ns = self._next_change_ns
            for boxes in self._boxes:
                if boxes.due_ns + self._epoch_ns < wake_ns:
                    wake_ns = boxes.due_ns + self._epoch_ns
            now_ns = _monotonic_ns()
            timeout = None if wake_ns == NEVER_NS else (wake_ns - now_ns) / 1e9 if wake_ns > now_ns else 0.0
            readable, _, _ = select.select(descriptors, (), (), timeout)
            if self._boxes:
                self._handle_boxes()
            if heap:
                self.release_due()
            if _monotonic_ns() >= self._next_change_ns:
                self._observe_changes()
            for descriptor in readable:
                if descriptor == control:
                    return
                self._read(ports[descriptor])

    def report(self, final: bool = False) -> Report:
        """Everything since the start."""
        self._observe_changes()
        return Report(
            monotonic_ns=_monotonic_ns(),
            started_ns=self._started_ns,
            cpu_ns=time.process_time_ns() - self._cpu_ns,
            scheduler=self.scheduler,
            links=tuple(link.report() for link in self._links),
            final=final,
        )

    def close(self) -> None:
        """Leave all interfaces."""
        for link in self._links:
            link.close()

    def _renew(self, with_changes: bool) -> int:
        # Frames of the old models that are still on their way are released and counted by these.
        epoch_ns = self._epoch_ns = _monotonic_ns()
        self._cpu_ns = time.process_time_ns()
        for link in self._links:
            link.renew(self, epoch_ns, with_changes)
        self._boxes = [link.middleboxes for link in self._links if link.middleboxes is not None]
        self._ports: dict[int, LiveDirection] = {}
        for link in self._links:
            self._ports[link.a.fileno()] = link.forward
            self._ports[link.b.fileno()] = link.backward
        self._observe_changes()
        return epoch_ns

    def _handle_boxes(self) -> None:
        """Do what the middleboxes' timers ask for."""
        now_ns = _monotonic_ns() - self._epoch_ns
        for boxes in self._boxes:
            if boxes.due_ns <= now_ns:
                boxes.handle_due(now_ns)

    def _observe_changes(self) -> None:
        now_ns = _monotonic_ns()
        for link in self._links:
            link.observe_changes(now_ns)
        self._next_change_ns = min(link.next_change_ns() for link in self._links)

    def _read(self, direction: LiveDirection) -> None:
        source, buffer, view, heap = direction.source, self._buffer, self._view, self._heap
        receive_into = source.receive_into
        age_ns = NEVER_NS
        for _ in range(READS_PER_TURN):
            try:
                length = receive_into(buffer)
            except BlockingIOError:
                return
            except OSError:
                # EINVAL: a super-segment that a virtio header cannot describe; the kernel has thrown it away.
                # ENETDOWN: the interface went down.
                direction.unsupported_frames += 1
                continue
            if length == len(buffer):
                direction.unsupported_frames += 1
                continue
            arrived_ns = now_ns = _monotonic_ns()
            if age_ns > LATE_READ_NS:
                real_ns = time.time_ns()
                age_ns = real_ns - source.stamp_ns()
                offset_ns, self._clock_offset_ns = self._clock_offset_ns, real_ns - now_ns
                stepped = abs(self._clock_offset_ns - offset_ns) > CLOCK_STEP_NS  # then the stamp tells nothing
                if age_ns > 0 and not stepped:
                    arrived_ns -= age_ns
            if length >= SHORTEST_FRAME_BYTES:
                direction.frame_arrives(bytes(view[:length]), arrived_ns)
            if heap and heap[0][0] <= now_ns:
                self.release_due()


def read_line(descriptor: int, pending: bytearray) -> str | None:
    """The next whole line from ``descriptor``, or None at its end; ``pending`` keeps what came after it."""
    while b"\n" not in pending:
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            return None
        pending += chunk
    line, _, rest = pending.partition(b"\n")
    pending[:] = rest
    return line.decode()
