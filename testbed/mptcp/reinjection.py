"""Retransmission at the connection's level: when the DATA_ACK does not come although TCP has done its work.

The connection-level timer (RFC 8684 §3.3.6, W10), reinjection of what a silent or dead subflow carries, the probe of a
closed connection-level window. The subflow itself goes on retransmitting (W8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from testbed.mptcp import acknowledgment, resets
from testbed.mptcp.subflow_view import NOT_KNOWN
from testbed.tcp.state import Event, Failure

if TYPE_CHECKING:
    from testbed.mptcp.connection import Connection
    from testbed.mptcp.send_queue import Mapping
    from testbed.mptcp.subflow import Subflow

STALE_TIMEOUTS: Final = 2
"""Expiries of a subflow's retransmission timer in a row, without progress, that make it stale: as long as others work,
no new data goes there (Linux ``stale_loss_cnt`` counts connection-level periods; its default is 4)."""
SUSPECT_AFTER: Final = 3
"""Expiries of the connection-level timer, within a window of data, that find the oldest data acknowledged by its
subflow and not DATA_ACKed, until all such data goes to others. Three, as of duplicate ACKs (RFC 5681)."""
BROKEN_AFTER: Final = 6
"""... until the subflow counts as one that has lost its options (K4). A proxy that acknowledges early and has losses of
its own to repair looks the same at first."""
BACKOFF_LIMIT: Final = 6
"""Doublings of the connection-level timer, as of an RTO that starts at 1 s and ends at 64 s (RFC 6298 §2.5)."""


class Reinjection:
    """One for each connection."""

    __slots__ = ("attempts", "backoff", "connection", "deadline", "probed_at", "progress_at", "unanswered_probes")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.deadline: int | None = None
        """ns; lazy: it is not moved at each progress but looked at again when it comes."""
        self.progress_at = 0
        self.backoff = 0
        self.probed_at = -1
        """When the closed window was probed last; -1: not since the last progress."""
        self.unanswered_probes = 0
        self.attempts = 0
        """Expiries since the last progress; R2 of RFC 9293 §3.8.3 (``retries``) bounds them at this level, too."""

    # --- the timer ---

    def interval(self) -> int:
        """The longest RTO of the working subflows, as given by their TCPs, or what the parameters say."""
        connection = self.connection
        fixed = connection.parameters.reinjection_timeout_ns
        if fixed is not None:
            return fixed << self.backoff
        longest = 0
        for subflow in connection.subflows:
            if not subflow.is_gone and not subflow.is_stale and subflow.tcp.rto > longest:
                longest = subflow.tcp.rto
        limits = connection.parameters.tcp
        return min((longest or limits.initial_rto_ns) << self.backoff, limits.max_rto_ns)

    def data_sent(self, now: int) -> None:
        """Something waits for a DATA_ACK, or for the window: the timer runs."""
        if self.deadline is None:
            self.progress_at = now
            self.deadline = now + self.interval()

    def progress(self, now: int) -> None:
        """A DATA_ACK or window has moved things on."""
        self.backoff = 0
        self.attempts = 0
        self.probed_at = -1
        self.unanswered_probes = 0
        self.progress_at = now
        if self.deadline is None and self._something_waits():
            self.deadline = now + self.interval()

    def _something_waits(self) -> bool:
        connection = self.connection
        queue = connection.send_queue
        return (
            queue.snd_una < queue.snd_nxt
            or connection.data_fin_due != NOT_KNOWN
            or (queue.unsent_octets > 0 and connection.send_window.right_edge <= queue.snd_nxt)
        )

    def handle_timeout(self, now: int) -> None:
        """The deadline may have come."""
        if self.deadline is None or now < self.deadline:
            return
        if self.connection.fallen_back or not self._something_waits():
            self.deadline = None
            return
        due = self.progress_at + self.interval()
        if now < due:
            self.deadline = due
            return
        self._expired(now)
        self.backoff = min(self.backoff + 1, BACKOFF_LIMIT)
        self.progress_at = now
        self.deadline = now + self.interval()

    def _expired(self, now: int) -> None:
        connection = self.connection
        queue = connection.send_queue
        head = queue.head()
        self.attempts += 1
        if self.attempts > connection.parameters.tcp.retries and (
            head is not None or connection.data_fin_due != NOT_KNOWN
        ):
            self._give_up(now)
            return
        if head is not None:
            subflow = connection.only_subflow()
            if (
                subflow is not None
                and head.copies <= 0
                and subflow.acknowledged_bare
                and connection.live_subflows() == 1
            ):
                # The only subflow acknowledges without any DSS: options are lost, or the peer has silently gone over to
                # TCP (as Linux does). Data sent again would be delivered twice.
                acknowledgment.options_are_lost(connection, subflow, now)
                return
            queue.reinject(head)
            self._blame(head, now)
        if connection.data_fin_due != NOT_KNOWN:
            connection.closing.announce(now)
        elif head is None and queue.unsent_octets:
            self._probe_window(now)

    def _blame(self, head: Mapping, now: int) -> None:
        """K4 as the sender sees it: a subflow acknowledges, and what it carried is not DATA_ACKed. The receiver holds
        it without a mapping for up to a window (D10), and would go on so while others bring all that it lacks."""
        if head.copies > 0:
            return
        for subflow in self.connection.subflows:
            if head.carriers != 1 << subflow.number or subflow.is_gone or not self.others_work(subflow):
                continue
            acknowledged = subflow.tcp.snd_una
            witness = subflow.witness
            una = self.connection.send_queue.snd_una
            has_delivered = witness is not None and witness.end <= una and witness.carriers == head.carriers
            if has_delivered or acknowledged - subflow.swallowed_at > subflow.tcp.max_snd_wnd:
                subflow.swallowed = 0
            subflow.swallowed += 1
            subflow.swallowed_at = acknowledged
            subflow.witness = self._next_of(head)
            if subflow.swallowed >= BROKEN_AFTER:
                self.connection.signalling.reset_subflow(subflow, resets.MIDDLEBOX, now)
            elif subflow.swallowed >= SUSPECT_AFTER:
                self._reinject_swallowed(head)
            return

    def _reinject_swallowed(self, head: Mapping) -> None:
        """All that the subflow of ``head`` alone has carried and acknowledged."""
        queue = self.connection.send_queue
        for mapping in queue.all_outstanding():
            if mapping.copies <= 0 and mapping.carriers == head.carriers:
                queue.reinject(mapping)

    def _next_of(self, head: Mapping) -> Mapping | None:
        """The next data after ``head`` that the same subflow alone has carried."""
        for mapping in self.connection.send_queue.all_outstanding():
            if mapping is not head and mapping.carriers == head.carriers:
                return mapping
        return None

    def _give_up(self, now: int) -> None:
        """No DATA_ACK however often we asked. On a single subflow that TCP still keeps, the peer may have gone over to
        TCP without a word: so do we if that is possible (then a FIN takes the DATA_FIN's place)."""
        connection = self.connection
        if connection.live_subflows() == 1 and connection.may_fall_back():
            connection.fall_back("MPTcpExtMPCapableDataFallback", now, tell_peer=True)
            return
        connection.fail(Event.TIMED_OUT, Failure.TIMED_OUT)
        connection.fast_closing.abort(now)

    def _probe_window(self, now: int) -> None:
        """The window is closed and nothing is outstanding whose acknowledgment would tell that it opened: ask, for ever
        (RFC 9293 §3.8.6.1 at this level). A probe of every working subflow: an answer on any will do."""
        connection = self.connection
        if self._probes_are_in_vain(now):
            return
        self.probed_at = now
        connection.counters.add("MPTcpExtWinProbe")
        for subflow in connection.subflows:
            if not subflow.is_gone:
                subflow.tcp.probe(now)

    def _probes_are_in_vain(self, now: int) -> bool:
        """For ever means: as long as the peer answers (RFC 9293 §3.8.6.1), and answers as MPTCP. Without DATA_ACKs no
        window is ever learnt (D16): then options are lost, or the peer is plain TCP."""
        connection = self.connection
        retries = connection.parameters.tcp.retries
        answered = self.probed_at < 0 or any(
            not subflow.is_gone and subflow.tcp.last_arrival > self.probed_at for subflow in connection.subflows
        )
        self.unanswered_probes = 0 if answered else self.unanswered_probes + 1
        if self.unanswered_probes > retries:
            connection.fail(Event.TIMED_OUT, Failure.TIMED_OUT)
            connection.fast_closing.abort(now)
            return True
        subflow = connection.only_subflow()
        if self.attempts <= retries or subflow is None or not subflow.heard_bare or connection.live_subflows() > 1:
            return False
        acknowledgment.options_are_lost(connection, subflow, now)
        return True

    # --- subflows that fall silent ---

    def subflow_timeout(self, subflow: Subflow, now: int) -> None:
        """A timer of this subflow has just been served: has it backed off further?"""
        backoff = subflow.tcp.recovery.backoff
        if backoff == subflow.timeouts_seen:
            return
        grew = backoff > subflow.timeouts_seen
        subflow.timeouts_seen = backoff
        if not grew or self.connection.fallen_back or not self.others_work(subflow):
            return
        if backoff >= STALE_TIMEOUTS and not subflow.is_stale:
            subflow.is_stale = True
            self.connection.counters.add("MPTcpExtSubflowStale")
        self.reinject_all(subflow)
        limit = self.connection.parameters.bad_subflow_timeouts
        if limit is not None and backoff >= limit:
            self.connection.signalling.reset_subflow(subflow, resets.UNACCEPTABLE_PERFORMANCE, now)  # W11

    def others_work(self, subflow: Subflow) -> bool:
        """Whether data can go elsewhere."""
        return any(other is not subflow and other.usable() for other in self.connection.subflows)

    def reinject_all(self, subflow: Subflow) -> None:
        """What it carries and has not had acknowledged goes to others, too."""
        queue = self.connection.send_queue
        for mapping in subflow.outgoing.unacknowledged():
            queue.reinject(mapping)

    def subflow_recovered(self, subflow: Subflow) -> None:
        """It acknowledges again."""
        subflow.timeouts_seen = 0
        if subflow.is_stale:
            subflow.is_stale = False
            self.connection.counters.add("MPTcpExtSubflowRecover")

    def subflow_lost(self, subflow: Subflow) -> None:
        """It is gone: its copies no longer count, and what is not DATA_ACKed is sent again."""
        queue = self.connection.send_queue
        for mapping in subflow.outgoing.unacknowledged():
            queue.reinject(mapping)
            queue.copy_done(mapping)
        # Subflow-acknowledged but not DATA_ACKed: the peer may have discarded it with the subflow (K6).
        bit = 1 << subflow.number
        for mapping in queue.all_outstanding():
            if mapping.carriers & bit and mapping.copies <= 0:
                queue.reinject(mapping)
        queue.sort_reinjections()
