"""Reassembly by DSN: the shared receive buffer of the connection (RFC 8684 §3.3.1, §3.3.4).

The first data received for a DSN is what is delivered; later copies are ignored (D4). What lies outside the window that
was advertised is dropped and not DATA_ACKed (W4), so the memory is bounded by the buffer; the count of pieces has a
limit of its own. Counters carry the kernel's names (``mptcp_data_queue_ofo``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.counters import Counters


class ReceiveQueue:
    """In-order data that waits for the user, and out-of-order data that waits for a hole."""

    __slots__ = (
        "_starts",
        "capacity",
        "counters",
        "end",
        "is_started",
        "out_of_order",
        "out_of_order_limit",
        "out_of_order_octets",
        "rcv_nxt",
        "ready",
        "ready_octets",
        "right_edge",
    )

    def __init__(self, capacity: int, out_of_order_limit: int, counters: Counters) -> None:
        self.capacity = capacity
        self.counters = counters
        self.out_of_order_limit = out_of_order_limit
        """Stretches with holes between them; beyond it the newest is dropped (and counted)."""
        self.is_started = False
        """Whether the peer's IDSN is known."""
        self.rcv_nxt = 0
        """Next DSN expected; a DATA_FIN that was reached is not counted here."""
        self.right_edge = capacity
        """Greatest DSN + 1 that was ever allowed: DATA_ACK + window never shrinks (W1)."""
        self.end = NOT_KNOWN
        """DSN of the peer's DATA_FIN: there is no data from it on."""
        self.ready: deque[bytes] = deque()
        self.ready_octets = 0
        self.out_of_order: list[tuple[int, bytes]] = []
        """(DSN, data), sorted, disjoint, all after ``rcv_nxt``."""
        self._starts: list[int] = []
        self.out_of_order_octets = 0

    def start(self, first_dsn: int) -> None:
        """The peer's first octet of data has this DSN (IDSN + 1)."""
        self.right_edge += first_dsn - self.rcv_nxt
        self.rcv_nxt = first_dsn
        self.is_started = True

    def add(self, dsn: int, data: bytes) -> bool:
        """Data with its mapping. True when ``rcv_nxt`` advanced."""
        octets = len(data)
        if dsn == self.rcv_nxt and not self.out_of_order and dsn + octets <= self.right_edge and self.end == NOT_KNOWN:
            self.rcv_nxt = dsn + octets
            self.ready.append(data)
            self.ready_octets += octets
            return True
        return self._add_elsewhere(dsn, data)

    def append(self, data: bytes) -> None:
        """Data of the infinite mapping: whatever TCP delivers is the next of the stream."""
        self.rcv_nxt += len(data)
        self.ready.append(data)
        self.ready_octets += len(data)

    def append_outside(self, data: bytes) -> None:
        """Data of the SYN: first in the stream, outside the data sequence space (RFC 8684 B.2)."""
        self.ready.append(data)
        self.ready_octets += len(data)

    def take(self, limit: int) -> bytes:
        """At most ``limit`` octets for the user; one chunk by reference where possible."""
        if not self.ready or limit <= 0:
            return b""
        chunk = self.ready[0]
        size = len(chunk)
        if size > limit:
            self.ready[0] = chunk[limit:]
            self.ready_octets -= limit
            return chunk[:limit]
        self.ready.popleft()
        if self.ready and size + len(self.ready[0]) <= limit:
            pieces = [chunk]
            while self.ready and size + len(self.ready[0]) <= limit:
                chunk = self.ready.popleft()
                size += len(chunk)
                pieces.append(chunk)
            chunk = b"".join(pieces)
        self.ready_octets -= size
        return chunk

    def window(self) -> int:
        """Octets that may be advertised beyond ``rcv_nxt`` now: what the buffer has left, never less than what the
        right edge has promised (W1, W2). Out-of-order data lies within it."""
        edge = self.rcv_nxt + self.capacity - self.ready_octets
        if edge > self.right_edge:
            self.right_edge = edge
        else:
            edge = self.right_edge
        return edge - self.rcv_nxt

    def received_to(self) -> int:
        """One after the last octet that has come, holes before it or not."""
        if not self.out_of_order:
            return self.rcv_nxt
        dsn, data = self.out_of_order[-1]
        return dsn + len(data)

    # --- rare cases ---

    def _add_elsewhere(self, dsn: int, data: bytes) -> bool:
        end = dsn + len(data)
        if end > self.right_edge:
            # Beyond what was ever allowed (W4). What is inside stays (mptcp keeps a skb whole and drops it whole).
            if dsn >= self.right_edge:
                self.counters.add("MPTcpExtNoDSSInWindow")
                return False
            data = data[: self.right_edge - dsn]
            end = self.right_edge
            self.counters.add("MPTcpExtNoDSSInWindow")
        if self.end != NOT_KNOWN and end > self.end:
            self.counters.add("TestbedDataAfterFin")
            if dsn >= self.end:
                return False
            data = data[: self.end - dsn]
            end = self.end
        if end <= self.rcv_nxt:
            self.counters.add("MPTcpExtDuplicateData")
            return False
        if dsn < self.rcv_nxt:
            self.counters.add("MPTcpExtDuplicateData")
            data = data[self.rcv_nxt - dsn :]
            dsn = self.rcv_nxt
        if dsn > self.rcv_nxt:
            self._store(dsn, data)
            return False
        self._insert_first_wins(dsn, data)
        self._drain()
        return True

    def _store(self, dsn: int, data: bytes) -> None:
        if len(self.out_of_order) >= self.out_of_order_limit:
            self._join_neighbours()
            if len(self.out_of_order) >= self.out_of_order_limit:
                self.counters.add("TcpExtTCPOFODrop")
                return
        self.counters.add("MPTcpExtOFOQueue")
        if not self._starts or dsn >= self._starts[-1] + len(self.out_of_order[-1][1]):
            self.counters.add("MPTcpExtOFOQueueTail")
            self._starts.append(dsn)
            self.out_of_order.append((dsn, data))
            self.out_of_order_octets += len(data)
            return
        self._insert_first_wins(dsn, data)

    def _insert_first_wins(self, dsn: int, data: bytes) -> None:
        """Fill the gaps between what is there with ``data``."""
        end = dsn + len(data)
        index = bisect_left(self._starts, dsn)
        if index and self._starts[index - 1] + len(self.out_of_order[index - 1][1]) > dsn:
            index -= 1
        position = dsn
        inserted = 0
        while position < end:
            if index == len(self._starts) or self._starts[index] >= end:
                gap_end = end
            else:
                gap_end = max(self._starts[index], position)
            if gap_end > position:
                piece = data[position - dsn : gap_end - dsn]
                self._starts.insert(index, position)
                self.out_of_order.insert(index, (position, piece))
                self.out_of_order_octets += len(piece)
                inserted += len(piece)
                index += 1
            if gap_end == end:
                break
            position = max(position, self._starts[index] + len(self.out_of_order[index][1]))
            index += 1
        if inserted < len(data):
            self.counters.add("MPTcpExtDuplicateData")

    def _join_neighbours(self) -> None:
        """Make one piece of what is contiguous (``mptcp_ooo_try_coalesce``). TCP has acknowledged all this data: to
        drop any costs the peer a timeout of the connection's timer, so only holes are to count."""
        joined: list[tuple[int, bytes]] = []
        run: list[bytes] = []
        first = end = 0
        for dsn, data in self.out_of_order:
            if run and dsn != end:
                joined.append((first, b"".join(run)))
                run = []
            if not run:
                first = dsn
            run.append(data)
            end = dsn + len(data)
        if run:
            joined.append((first, b"".join(run)))
        self.out_of_order = joined
        self._starts = [dsn for dsn, _ in joined]

    def _drain(self) -> None:
        """Move what has become contiguous to the user's side."""
        count = 0
        for dsn, data in self.out_of_order:
            if dsn != self.rcv_nxt:
                break
            self.rcv_nxt += len(data)
            self.ready.append(data)
            self.ready_octets += len(data)
            self.out_of_order_octets -= len(data)
            count += 1
        del self.out_of_order[:count]
        del self._starts[:count]
        if count > 1:
            self.counters.add("MPTcpExtOFOMerge", count - 1)
