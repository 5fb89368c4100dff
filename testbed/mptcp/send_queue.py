"""The send buffer of the connection: what the user gave, by DSN, until it is acknowledged at both levels.

RFC 8684 §3.3.2 and §3.3.6 (checklist D17, W9): data is freed only when it is DATA_ACKed *and* acknowledged on every
subflow that carried it and still lives. New data is cut into chunks when a subflow takes it; a chunk and the mapping of
its first transmission are one object, and a reinjection is a further mapping that points to that one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Final

from testbed.mptcp.subflow_view import OutgoingMapping
from testbed.tcp.counters import Counters
from testbed.wire.checksum import dss_checksum, ones_complement_sum

_COMPACT_AFTER: Final = 256
"""Freed entries at the head of a list before they are cut off at once."""


class Mapping(OutgoingMapping):
    """One mapping of one subflow, with the data that it covers."""

    __slots__ = ("carriers", "copies", "data", "end", "origin", "waits_for_reinjection")

    def __init__(self, dsn: int, ssn: int, data: bytes, origin: Mapping | None = None) -> None:
        super().__init__(dsn, ssn, len(data))
        self.data = data
        self.end = dsn + len(data)
        """DSN after the last octet of data."""
        self.origin = origin
        """The first transmission of this data, which keeps the account of all; None: this is it."""
        self.copies = 1
        """Of an origin: mappings of living subflows that are not subflow-acknowledged yet."""
        self.carriers = 0
        """Of an origin: bit set of the subflows (``SubflowData.number``) that have ever carried it."""
        self.waits_for_reinjection = False


def sort_key_dsn(mapping: Mapping) -> int:
    """For bisection."""
    return mapping.dsn


class SendQueue:
    """Data of one direction of the connection: unsent, outstanding, waiting for reinjection."""

    __slots__ = (
        "_first",
        "_offset",
        "_unsent",
        "capacity",
        "counters",
        "held",
        "outstanding",
        "reinjections",
        "snd_end",
        "snd_nxt",
        "snd_una",
        "unsent_octets",
    )

    def __init__(self, capacity: int, counters: Counters) -> None:
        self.capacity = capacity
        """Octets that may be held (W7: at least the receive buffer)."""
        self.counters = counters
        self.held = 0
        """Octets held: unsent, or sent and not yet free."""
        self.snd_una = 0
        """First DSN that is not DATA_ACKed."""
        self.snd_nxt = 0
        """First DSN that no subflow has taken."""
        self.snd_end = 0
        """DSN after the last octet that the user gave."""
        self._unsent: deque[bytes] = deque()
        self._offset = 0
        """Octets of the first unsent chunk that are already taken."""
        self.unsent_octets = 0
        self.outstanding: list[Mapping] = []
        """First transmissions in DSN order, from ``_first`` on not DATA_ACKed."""
        self._first = 0
        self.reinjections: deque[Mapping] = deque()

    def start(self, first_dsn: int) -> None:
        """The first octet of data has this DSN: IDSN + 1, as the SYN has taken the IDSN (B9). Data that the user gave
        before the key was known moves along."""
        shift = first_dsn - self.snd_una
        self.snd_una += shift
        self.snd_nxt += shift
        self.snd_end += shift

    # --- the user's side ---

    def room(self) -> int:
        """Octets that :meth:`write` would take."""
        return self.capacity - self.held

    def write(self, data: bytes) -> int:
        """Take as much of ``data`` as there is room for; it is kept by reference."""
        taken = min(len(data), self.capacity - self.held)
        if taken <= 0:
            return 0
        self._unsent.append(data if taken == len(data) else data[:taken])
        self.unsent_octets += taken
        self.snd_end += taken
        self.held += taken
        return taken

    # --- the scheduler's side ---

    def take(self, length: int) -> bytes:
        """The next ``length`` unsent octets (at most ``unsent_octets``); whole chunks pass by reference."""
        chunk = self._unsent[0]
        offset = self._offset
        size = len(chunk) - offset
        self.unsent_octets -= length
        self.snd_nxt += length
        if size > length:
            self._offset = offset + length
            return chunk[offset : offset + length]
        self._unsent.popleft()
        self._offset = 0
        if offset:
            chunk = chunk[offset:]
        if size == length:
            return chunk
        pieces = [chunk]
        missing = length - size
        while missing:
            chunk = self._unsent[0]
            if len(chunk) > missing:
                pieces.append(chunk[:missing])
                self._offset = missing
                break
            pieces.append(chunk)
            missing -= len(chunk)
            self._unsent.popleft()
        return b"".join(pieces)

    def put_back(self, data: bytes) -> None:
        """The end of what :meth:`take` gave, which the subflow could not keep."""
        if self._offset:
            self._unsent[0] = self._unsent[0][self._offset :]
            self._offset = 0
        self._unsent.appendleft(data)
        self.unsent_octets += len(data)
        self.snd_nxt -= len(data)

    def leave_out(self, length: int) -> None:
        """The first octets taken left on a SYN (Fast Open) and arrived: they have no place in the data sequence space
        (RFC 8684 B.2). Before :meth:`start`."""
        self.snd_nxt -= length
        self.snd_end -= length
        self.held -= length

    def sent(self, mapping: Mapping) -> None:
        """``mapping`` is a first transmission: the account of its data begins."""
        self.outstanding.append(mapping)

    # --- acknowledgments ---

    def data_acknowledged(self, data_ack: int) -> None:
        """A DATA_ACK of new data up to ``data_ack`` (not beyond ``snd_nxt``)."""
        self.snd_una = data_ack
        outstanding = self.outstanding
        first = self._first
        count = len(outstanding)
        while first < count:
            mapping = outstanding[first]
            if mapping.end > data_ack:
                break
            first += 1
            if mapping.copies <= 0:
                self.free(mapping)
        if first > _COMPACT_AFTER or first == count:
            del outstanding[:first]
            first = 0
        self._first = first

    def copy_done(self, mapping: Mapping) -> None:
        """One copy is subflow-acknowledged, or its subflow is gone."""
        origin = mapping if mapping.origin is None else mapping.origin
        origin.copies -= 1
        if origin.copies == 0 and origin.end <= self.snd_una:
            self.free(origin)

    def free(self, mapping: Mapping) -> None:
        """Acknowledged at both levels: its room is the user's again."""
        self.held -= mapping.length
        mapping.data = b""

    def clear(self) -> None:
        """Forget all data: the connection has ended abruptly."""
        self._unsent.clear()
        self._offset = 0
        self.unsent_octets = 0
        self.outstanding.clear()
        self._first = 0
        self.reinjections.clear()
        self.held = 0
        self.snd_una = self.snd_nxt = self.snd_end

    # --- reinjection ---

    def reinject(self, mapping: Mapping) -> None:
        """Queue data for transmission on another subflow, unless it is DATA_ACKed or queued already."""
        origin = mapping if mapping.origin is None else mapping.origin
        if origin.end > self.snd_una and not origin.waits_for_reinjection:
            origin.waits_for_reinjection = True
            self.reinjections.append(origin)

    def next_reinjection(self) -> Mapping | None:
        """The oldest in the queue that is still worth it (it stays there); None: nothing to reinject."""
        queue = self.reinjections
        while queue:
            mapping = queue[0]
            if mapping.end > self.snd_una:
                return mapping
            mapping.waits_for_reinjection = False
            queue.popleft()
        return None

    def reinjected(self) -> None:
        """The first of the queue is on its way again."""
        self.reinjections.popleft().waits_for_reinjection = False

    def sort_reinjections(self) -> None:
        """Oldest data first: it is what the receiver waits for."""
        self.reinjections = deque(sorted(self.reinjections, key=sort_key_dsn))

    def all_outstanding(self) -> list[Mapping]:
        """First transmissions that are not DATA_ACKed, in DSN order."""
        return self.outstanding[self._first :]

    def head(self) -> Mapping | None:
        """The oldest data that is sent and not DATA_ACKed."""
        return self.outstanding[self._first] if self._first < len(self.outstanding) else None

    def outstanding_from(self, dsn: int) -> Mapping | None:
        """The first outstanding mapping that ends after ``dsn`` (for the redundant scheduler)."""
        index = max(bisect_right(self.outstanding, dsn, key=sort_key_dsn) - 1, self._first)
        while index < len(self.outstanding):
            mapping = self.outstanding[index]
            if mapping.end > dsn:
                return mapping
            index += 1
        return None


class OutgoingMappings:
    """The mappings that one subflow has declared, in SSN order, until the subflow acknowledges their data."""

    __slots__ = ("_cursor", "_first", "items", "last_found")

    def __init__(self) -> None:
        self.items: list[Mapping] = []
        self._first = 0
        """Entries before it are acknowledged."""
        self._cursor = 0
        """Where the last look-up ended: the next is there or right after, but for retransmissions."""
        self.last_found: Mapping | None = None

    def append(self, mapping: Mapping) -> None:
        """A new one, at the end of the subflow's sequence space."""
        self.items.append(mapping)

    def find(self, ssn: int) -> Mapping | None:
        """The mapping that contains ``ssn``."""
        items = self.items
        cursor = self._cursor + 1
        if cursor < len(items):
            mapping = items[cursor]
            if mapping.ssn <= ssn < mapping.ssn + mapping.length:
                self._cursor = cursor
                self.last_found = mapping
                return mapping
        cursor = bisect_right(items, ssn, lo=self._first, key=_sort_key_ssn) - 1
        if cursor < self._first:
            return None
        mapping = items[cursor]
        if ssn >= mapping.ssn + mapping.length:
            return None
        self._cursor = cursor
        self.last_found = mapping
        return mapping

    def acknowledged(self, ssn: int, queue: SendQueue) -> None:
        """The subflow acknowledged all before ``ssn``."""
        items = self.items
        first = self._first
        count = len(items)
        while first < count:
            mapping = items[first]
            if mapping.ssn + mapping.length > ssn:
                break
            first += 1
            origin = mapping if mapping.origin is None else mapping.origin
            origin.copies -= 1
            if origin.copies == 0 and origin.end <= queue.snd_una:
                queue.free(origin)
        if first > _COMPACT_AFTER or first == count:
            del items[:first]
            self._cursor = max(self._cursor - first, 0)
            first = 0
        self._first = first

    def oldest(self) -> Mapping | None:
        """The first that the subflow has not acknowledged."""
        return self.items[self._first] if self._first < len(self.items) else None

    def unacknowledged(self) -> list[Mapping]:
        """What the subflow has not acknowledged, in SSN order."""
        return self.items[self._first :]

    def carries(self, origin: Mapping) -> bool:
        """Whether data of that first transmission is still to be acknowledged by the subflow."""
        return any(mapping is origin or mapping.origin is origin for mapping in self.items[self._first :])

    def clear(self) -> None:
        """Forget all: the subflow is gone."""
        self.items.clear()
        self._first = 0
        self._cursor = 0
        self.last_found = None


def _sort_key_ssn(mapping: Mapping) -> int:
    return mapping.ssn


def declare_checksum(mapping: Mapping, ssn_offset: int) -> None:
    """Fill in the checksum of a mapping that is about to be declared (RFC 8684 §3.3.1, D6; a DATA_FIN counts)."""
    mapping.checksum = dss_checksum(
        mapping.dsn, mapping.ssn - ssn_offset, mapping.length + mapping.data_fin, ones_complement_sum(mapping.data)
    )
