"""What leaves on which subflow: new data by the scheduler, reinjections, opportunistic retransmission, penalisation.

Data stays in the connection's queue until a subflow's congestion window has room for it: the decision is taken late. A
chunk may be longer than a packet; then each of its packets repeats the mapping of the whole (as Linux with TSO).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from testbed.mptcp.send_queue import Mapping, declare_checksum
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.state import CLOSED

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.scheduler.base import Scheduler
    from testbed.mptcp.subflow import Subflow

MAPPING_OCTETS_LIMIT: Final = 65535 - 1
"""Data-Level Length has 16 bits, one octet of which a DATA_FIN may need (RFC 8684 §3.3.1)."""


class Transmission:
    """The sending side of the data level."""

    __slots__ = ("chunk_limit", "connection", "is_redundant", "minshall", "nagle", "scheduler", "small_end")

    def __init__(self, connection: Connection, scheduler: Scheduler) -> None:
        self.connection = connection
        self.scheduler = scheduler
        self.is_redundant = scheduler.redundant
        """There may be something to send even when nothing is unsent."""
        self.chunk_limit = min(connection.parameters.options.mapping_octets, MAPPING_OCTETS_LIMIT)
        self.nagle = connection.parameters.tcp.nagle
        self.minshall = connection.parameters.tcp.minshall
        self.small_end = 0
        """End (DSN) of the last chunk that was less than a packet."""

    def schedule(self, now: int) -> None:
        """Give subflows what may leave now."""
        connection = self.connection
        queue = connection.send_queue
        if connection.fallen_back:
            if queue.unsent_octets:
                self._schedule_plain(now)
            return
        if queue.reinjections:
            self._reinject(now)
        if self.scheduler.redundant:
            self._schedule_redundant(now)
            return
        scheduler = self.scheduler
        subflows: Sequence[Subflow] = connection.subflows
        send_window = connection.send_window
        while queue.unsent_octets:
            window = send_window.right_edge - queue.snd_nxt
            if window <= 0:
                self._window_is_closed(now)
                return
            if subflows and queue.unsent_octets < subflows[0].size and self._are_all_nagled(subflows):
                return
            picked = scheduler.pick(subflows, now, queue.unsent_octets, window)
            if picked is None:
                if window < queue.unsent_octets:
                    self._window_is_small(window, now)
                return
            subflow: Subflow = picked  # type: ignore[assignment]
            if not self._send_new(subflow, window, now):
                if self._is_nagled(subflow):
                    return
                subflows = asked_next(subflows, subflow)

    def _is_nagled(self, subflow: Subflow) -> bool:
        """Nagle's rule at this level: less than a packet waits while data is outstanding, on whichever subflow, so that
        what comes meanwhile joins it in one mapping (RFC 9293 §3.7.4)."""
        return self._nagle_applies() and self.connection.send_queue.unsent_octets < subflow.segment_size()

    def _nagle_applies(self) -> bool:
        """Whether less than a packet has to wait: as TCP has it, with Minshall's rule only for a small one before it,
        so that the tail of a large write leaves at once (Linux leaves it to the subflow's TCP, which has that rule)."""
        connection = self.connection
        queue = connection.send_queue
        held_by = self.small_end if self.minshall else queue.snd_nxt
        return self.nagle and queue.snd_una < held_by and connection.closing.fin_dsn == NOT_KNOWN

    def _are_all_nagled(self, subflows: Sequence[Subflow]) -> bool:
        """Whichever is picked: no scheduler need be asked, and none loses its turn for it."""
        queue = self.connection.send_queue
        if not self._nagle_applies():
            return False
        least = MAPPING_OCTETS_LIMIT
        for subflow in subflows:
            size = subflow.segment_size()
            if size < least:
                least = size
        return queue.unsent_octets < least

    def _send_new(self, subflow: Subflow, window: int, now: int) -> bool:
        """One chunk of new data; False: this subflow cannot take a sensible one now."""
        connection = self.connection
        queue = connection.send_queue
        unsent = queue.unsent_octets
        length = self._chunk_length(subflow, unsent if unsent < window else window, unsent, now)
        if length <= 0:
            return False
        dsn = queue.snd_nxt
        mapping = Mapping(dsn, subflow.tcp.snd_end, queue.take(length))
        mapping.carriers = 1 << subflow.number
        if connection.closing.fin_dsn == mapping.end and subflow.fully_established:
            mapping.data_fin = True  # under MP_CAPABLE (B12) there is no room for it: it follows on an ACK
        if connection.checksum:
            declare_checksum(mapping, subflow.ssn_offset)
        queue.sent(mapping)
        if length < subflow.segment_size():
            self.small_end = mapping.end
        self._give(subflow, mapping, now)
        if connection.wrap_guard.sent_up_to(mapping.end, now):
            connection.require_wide_dsn()
        connection.reinjection.data_sent(now)
        if unsent == length:
            connection.closing.data_scheduled(now)
        return True

    def _chunk_length(self, subflow: Subflow, available: int, unsent: int, now: int) -> int:
        """How much of ``available`` octets this subflow takes as one mapping: whole packets, or the end of data."""
        if subflow.untaken:
            return 0
        room = subflow.tcp.send_room(now)
        length = available if available < room else room
        if length > self.chunk_limit:
            length = self.chunk_limit
        size = min(subflow.segment_size(), self.chunk_limit)
        if length < size:
            if length == unsent:
                return 0 if self._is_nagled(subflow) else length
            # Room or window for less than a packet: only where waiting brings no more (RFC 9293 §3.8.6.2.1).
            return 0 if subflow.outstanding() else length
        if length < unsent or self.nagle:
            length = subflow.option_policy.whole_packets(length, subflow.tcp.mss, size, subflow.tcp.timestamps_on)
        return length

    def _give(self, subflow: Subflow, mapping: Mapping, now: int) -> None:
        """To TCP. Its buffer is at least as large as any congestion window that made room; should it not take all (a
        user's tiny ``send_buffer``), the mapping stands and the rest follows as soon as there is room."""
        taken = subflow.send_mapping(mapping, now)
        if taken < mapping.length:
            subflow.untaken.append((mapping, taken))

    def _schedule_plain(self, now: int) -> None:
        """After fallback: one subflow, no mappings; the objects only keep the account of what is held."""
        connection = self.connection
        queue = connection.send_queue
        subflow = connection.only_subflow()
        if subflow is None or not subflow.may_send_data:
            return
        while queue.unsent_octets and not subflow.untaken:
            room = subflow.tcp.send_room(now)
            if room <= 0 and not subflow.outstanding():
                room = subflow.segment_size()  # a closed window: TCP probes it, for which it needs something to send
            length = min(room, queue.unsent_octets, MAPPING_OCTETS_LIMIT)
            if length <= 0:
                return
            mapping = Mapping(queue.snd_nxt, subflow.tcp.snd_end, queue.take(length))
            queue.sent(mapping)
            self._give(subflow, mapping, now)
        connection.fallback.data_given(now)

    # --- reinjection ---

    def _reinject(self, now: int) -> None:
        queue = self.connection.send_queue
        while True:
            mapping = queue.next_reinjection()
            if mapping is None:
                return
            subflow = self._subflow_for(mapping, now)
            if subflow is None:
                return
            queue.reinjected()
            self.send_again(mapping, subflow, now)

    def _subflow_for(self, mapping: Mapping, now: int) -> Subflow | None:
        """Of the usable subflows with room: one that has not carried this data, with the lowest RTT. One that has, when
        none is at work on it any more (C11: the data, or its DATA_ACK, was lost above TCP); for the oldest data, which
        holds up all, when this one has done with it."""
        connection = self.connection
        best: Subflow | None = None
        for subflow in connection.subflows:
            if (
                not subflow.usable()
                or subflow.untaken
                or subflow.send_room(now) < min(mapping.length, subflow.segment_size())
            ):
                continue
            if mapping.carriers >> subflow.number & 1:
                continue
            if best is None or (subflow.backup, subflow.smoothed_rtt()) < (best.backup, best.smoothed_rtt()):
                best = subflow
        if best is not None or (mapping.copies > 0 and mapping is not connection.send_queue.head()):
            return best
        for subflow in connection.subflows:
            # Never twice to a peer that may be plain TCP: it would deliver both.
            if subflow.heard_bare or not subflow.usable() or subflow.untaken or subflow.send_room(now) <= 0:
                continue
            if subflow.swallowed and connection.reinjection.others_work(subflow):
                continue  # nor where such data has vanished before
            if mapping.copies <= 0 or not subflow.outgoing.carries(mapping):
                return subflow
        return None

    def send_again(self, origin: Mapping, subflow: Subflow, now: int) -> None:
        """A further copy of data that was sent, under a mapping of its own; the original keeps being retransmitted
        where it is (W8)."""
        connection = self.connection
        una = connection.send_queue.snd_una
        skipped = una - origin.dsn if una > origin.dsn else 0
        data = origin.data[skipped:] if skipped else origin.data
        mapping = Mapping(origin.dsn + skipped, subflow.tcp.snd_end, data, origin)
        origin.copies += 1
        origin.carriers |= 1 << subflow.number
        if connection.checksum:
            declare_checksum(mapping, subflow.ssn_offset)
        connection.has_reinjected = True
        if not self.is_redundant:
            connection.counters.add("MPTcpExtMPTCPRetrans")
        self._give(subflow, mapping, now)

    def _schedule_redundant(self, now: int) -> None:
        """Every subflow carries everything: the picked one takes the oldest data that it has not carried."""
        connection = self.connection
        queue = connection.send_queue
        subflows: Sequence[Subflow] = connection.subflows
        while True:
            window = connection.send_window.right_edge - queue.snd_nxt
            picked = self.scheduler.pick(subflows, now, queue.unsent_octets, max(window, 0))
            if picked is None:
                break
            subflow: Subflow = picked  # type: ignore[assignment]
            if not self._carry_next(subflow, window, now):
                subflows = [other for other in subflows if other is not subflow]
        if queue.unsent_octets and connection.send_window.right_edge <= queue.snd_nxt:
            connection.reinjection.data_sent(now)

    def _carry_next(self, subflow: Subflow, window: int, now: int) -> bool:
        """The oldest data that this subflow has not carried; False: it cannot now."""
        queue = self.connection.send_queue
        if subflow.carries_to < queue.snd_una:
            subflow.carries_to = queue.snd_una
        origin = queue.outstanding_from(subflow.carries_to)
        while origin is not None and origin.carriers >> subflow.number & 1:
            subflow.carries_to = origin.end
            origin = queue.outstanding_from(subflow.carries_to)
        if origin is not None:
            if subflow.untaken or subflow.send_room(now) < min(origin.length, subflow.segment_size()):
                return False
            self.send_again(origin, subflow, now)
            subflow.carries_to = origin.end
            return True
        if window <= 0 or not queue.unsent_octets or not self._send_new(subflow, window, now):
            return False
        subflow.carries_to = queue.snd_nxt
        return True

    # --- the window is the limit ---

    def _window_is_closed(self, now: int) -> None:
        """Data waits for the peer's window."""
        connection = self.connection
        if connection.send_window.zero_since is None:
            connection.send_window.zero_since = now
            connection.counters.add("MPTcpExtSndWndShared")
        connection.reinjection.data_sent(now)
        self._send_head_again(now)

    def _window_is_small(self, window: int, now: int) -> None:
        """No subflow may take any of it: less than a packet is no more use than a closed window."""
        for subflow in self.connection.subflows:
            if window >= subflow.segment_size():
                return
        self._send_head_again(now)

    def _send_head_again(self, now: int) -> None:
        """If a subflow has room, the head of what is outstanding is sent on it, too, and the subflow that holds the
        window back is slowed down (Raiciu et al., NSDI 2012, §4.2)."""
        connection = self.connection
        queue = connection.send_queue
        if not connection.parameters.opportunistic_retransmission or len(connection.subflows) < 2:
            return
        head = queue.head()
        if head is None or head.waits_for_reinjection or not head.data:
            return
        subflow = self._subflow_for(head, now)
        if subflow is None or head.carriers >> subflow.number & 1:
            return
        if subflow.backup and any(other.usable() and not other.backup for other in connection.subflows):
            return  # one that works is busy: no reason to wake the reserve (§3.3.8)
        self.send_again(head, subflow, now)
        if connection.parameters.penalisation:
            self._penalise(head, subflow, now)

    def _penalise(self, head: Mapping, faster: Subflow, now: int) -> None:
        """Halve the congestion window of the slower subflows that carry the head, at most once per their RTT."""
        for subflow in self.connection.subflows:
            if subflow is faster or not head.carriers >> subflow.number & 1 or not subflow.usable():
                continue
            if now < subflow.penalised_until or subflow.smoothed_rtt() <= faster.smoothed_rtt():
                continue
            congestion = subflow.tcp.congestion
            floor = 2 * subflow.segment_size()
            congestion.cwnd = max(congestion.cwnd // 2, floor)
            congestion.ssthresh = max(min(congestion.ssthresh, congestion.cwnd), floor)
            subflow.penalised_until = now + subflow.smoothed_rtt()

    def push_untaken(self, subflow: Subflow, now: int) -> None:
        """Room again in the subflow's buffer: what it could not take of a mapping that is declared."""
        tcp = subflow.tcp
        if subflow.is_gone or tcp.fin_offset >= 0 or tcp.state is CLOSED:
            subflow.untaken.clear()  # what nobody has DATA_ACKed goes elsewhere when it is gone
        while subflow.untaken:
            mapping, offset = subflow.untaken[0]
            subflow.is_due = True
            taken = subflow.tcp.send(mapping.data[offset:], now)
            if offset + taken < mapping.length:
                subflow.untaken[0] = (mapping, offset + taken)
                return
            subflow.untaken.pop(0)
        if self.connection.fallen_back:
            self.connection.fallback.data_given(now)


def asked_next(subflows: Sequence[Subflow], subflow: Subflow) -> list[Subflow]:
    """Who may take new data that this subflow cannot take now: no backup while it is a regular one (§3.3.8)."""
    return [other for other in subflows if other is not subflow and (subflow.backup or not other.backup)]
