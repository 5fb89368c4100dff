"""A stream at a constant rate: each block carries its number and when it was due; the receiver records its delay.

The delay is from the due time, not from when the sender could write: a block that waited behind a full send buffer is
late for whoever watches the stream. Nothing is skipped before the end of the duration. Both ends read CLOCK_MONOTONIC
of one machine.

What was due by then and never arrived, sent or not, the receiver knows from the due time of any block. A stream that
was stopped has no such blocks: where its sender ended is not known at the receiver.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from testbed.endpoint.applications.single import SingleConnection
from testbed.endpoint.applications.sources import NOTHING_NOW
from testbed.endpoint.distribution import Recorder
from testbed.endpoint.meter import Received, Sent
from testbed.endpoint.parameters import Stream
from testbed.endpoint.payload import BLOCK_BYTES, random_block
from testbed.endpoint.session import Session
from testbed.endpoint.transport import Connection

HEADER = struct.Struct("!Qq")
"""Number from 0, and due time in ns since the epoch of the trial."""


class BlockSource:
    """Blocks as they become due; a block is made when the socket is ready for it, so that a slow path needs no room."""

    def __init__(self, filler: bytes, interval_ns: int, now_ns: Callable[[], int], meter: Sent) -> None:
        self.blocks = 0
        """Begun so far."""
        self.ending = False
        """No block is begun any more."""
        self._block = bytearray(filler)
        self._view = memoryview(self._block)
        self._offset = len(filler)
        self._interval_ns = interval_ns
        self._now_ns = now_ns
        self._first_due_ns = now_ns()
        self._meter = meter

    def next_due_ns(self) -> int:
        """When the next block is due."""
        return self._first_due_ns + self.blocks * self._interval_ns

    def upcoming(self) -> memoryview | None:
        """As :class:`testbed.endpoint.transport.Source`."""
        if self._offset == len(self._block):
            if self.ending:
                return None
            if self.next_due_ns() > self._now_ns():
                return NOTHING_NOW
            HEADER.pack_into(self._block, 0, self.blocks, self.next_due_ns())
            self.blocks += 1
            self._offset = 0
        return self._view[self._offset :]

    def sent(self, count: int) -> None:
        """As :class:`testbed.endpoint.transport.Source`."""
        self._meter.add(self._view[self._offset : self._offset + count])
        self._offset += count


class BlockReader:
    """Puts blocks together again. ``complete`` is told number and due time of each."""

    def __init__(self, filler: bytes, complete: Callable[[int, int], None]) -> None:
        self.first_mismatch: int | None = None
        """Stream offset of the first block that is not what was sent."""
        self._filler = filler[HEADER.size :]
        self._block = bytearray(len(filler))
        self._filled = 0
        self._blocks = 0
        self._complete = complete

    def add(self, data: memoryview) -> None:
        """The next bytes of the stream; nothing is read after a mismatch."""
        while data and self.first_mismatch is None:
            part = data[: len(self._block) - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            data = data[len(part) :]
            if self._filled == len(self._block):
                self._filled = 0
                self._finish_block()

    def _finish_block(self) -> None:
        number, due_ns = HEADER.unpack_from(self._block)
        if number != self._blocks or self._block[HEADER.size :] != self._filler:
            self.first_mismatch = self._blocks * len(self._block)
            return
        self._blocks += 1
        self._complete(number, due_ns)


class ConstantRate(SingleConnection):
    """One side of a stream."""

    def __init__(self, session: Session, parameters: Stream) -> None:
        super().__init__(session, Received())
        outgoing, _ = session.directions
        self._filler = _filler(session.configuration.seed, parameters.block_bytes)
        self._sends = parameters.direction == outgoing
        self.receives = not self._sends
        self._interval_ns = parameters.block_bytes * 8 * 10**9 // parameters.rate_bit_s
        self._delays = Recorder("block_delay")
        self._reader = BlockReader(self._filler, self._block_arrived)
        self._source: BlockSource | None = None
        self._first_due_ns: int | None = None
        self._finished = False

    def begin(self, connection: Connection) -> None:
        """As SingleConnection."""
        if self._sends:
            self._source = BlockSource(self._filler, self._interval_ns, self.session.now_ns, self.sent)
            connection.send(self._source)
            self.session.at(self.session.deadline_ns, self.stop)
            self._block_due()

    def arrived(self, connection: Connection, data: memoryview) -> None:
        """As User."""
        super().arrived(connection, data)
        self._reader.add(data)
        if self._reader.first_mismatch is not None:
            self.received.first_mismatch = self._reader.first_mismatch
            self.session.fail("integrity", f"the block at byte {self._reader.first_mismatch} is not what was sent")

    def stop(self) -> None:
        """As FlowApplication."""
        if self._source is not None and not self._source.ending:
            self._source.ending = True
            if self.connection is not None:
                self.connection.send_more()

    def finished(self, connection: Connection) -> None:
        """As User."""
        self._finished = True
        self.observe()

    def ended(self, connection: Connection) -> None:
        """As User."""
        unfinished = self._sends and not self._finished and not self.session.stopped
        if unfinished or (not self._sends and self.is_early()):
            self.unless_stopped(f"the peer ended the stream {self.session.now_ns() / 1e9:.3f} s into the trial")
        else:
            self.conclude()

    def findings(self) -> Mapping[str, Any]:
        """As FlowApplication."""
        if self._sends:
            return {**super().findings(), "transfers": self._source.blocks if self._source is not None else 0}
        missing_ns = self._missing_due_ns()
        return {
            **super().findings(),
            "transfers": len(self._delays),
            "transfers_failed": len(missing_ns),
            "longest_stall_ns": self.received.longest_stall_ns if self.receiving else None,
            "longest_stall_start_ns": self.received.longest_stall_start_ns,
            "distributions": (self._delays.distribution(self.session.ended_ns, missing_ns),),
        }

    def _missing_due_ns(self) -> range:
        """When the blocks were due that have not arrived. Without any block: as if the first was due at once."""
        first_ns = self.received.opened_ns if self._first_due_ns is None else self._first_due_ns
        if first_ns is None or self.session.stopped:
            return range(0)
        end_ns = min(self.session.deadline_ns, self.session.ended_ns)
        return range(first_ns + len(self._delays) * self._interval_ns, end_ns, self._interval_ns)

    def _block_due(self) -> None:
        if self._source is None or self._source.ending or self.connection is None:
            return
        self.connection.send_more()
        # Behind a full buffer the next block may be long due: then writability brings it, and the timer looks again.
        due_ns, now_ns = self._source.next_due_ns(), self.session.now_ns()
        self.session.at(due_ns if due_ns > now_ns else now_ns + self._interval_ns, self._block_due)

    def _block_arrived(self, number: int, due_ns: int) -> None:
        now_ns = self.session.now_ns()
        if self._first_due_ns is None:
            self._first_due_ns = due_ns - number * self._interval_ns
        self._delays.add(now_ns, now_ns - due_ns)


def _filler(seed: int, block_bytes: int) -> bytes:
    random = random_block(seed, "stream")
    return (random * (block_bytes // BLOCK_BYTES + 1))[:block_bytes]
