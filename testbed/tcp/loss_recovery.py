"""Loss recovery of one connection: what was lost, what may leave, and when to look again.

Holds the queue of what was sent, the RTT estimator, the retransmission timer (RFC 6298), tail loss probe and RACK
(RFC 8985) or counting (RFC 6675) or NewReno (RFC 6582), PRR (RFC 6937), F-RTO (RFC 5682), limited transmit (RFC 3042),
and undo by D-SACK (RFC 3708's idea, as Linux). Offsets are unbounded integers; SYN and FIN are octets among the others.

How a connection uses it, in this order, whenever something may leave::

    while (lost := recovery.segment_to_retransmit(now, longest)) is not None:     # it obeys cwnd by itself
        ... send; recovery.transmitted(start, end, now, True)                     # end may be lower than offered
    while new data and recovery.send_allowance(now) >= its length: ... recovery.transmitted(start, end, now, False)
    if there was no new data (or the peer's window is closed):
        lost = recovery.segment_without_new_data(now, longest) ... recovery.transmitted(start, end, now, True)
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.tcp import rfc6675
from testbed.tcp.careful_acknowledgment import acknowledge_carefully
from testbed.tcp.counters import Counters
from testbed.tcp.frto import Frto
from testbed.tcp.newreno import NewReno
from testbed.tcp.parameters import SECOND, Parameters
from testbed.tcp.prr import ProportionalRateReduction
from testbed.tcp.rack import Rack
from testbed.tcp.recovery_states import DISORDER, LOSS, OPEN, RECOVERY, TimeoutAction
from testbed.tcp.recovery_steps import settle
from testbed.tcp.recovery_timeouts import look_again, retransmission_timeout
from testbed.tcp.rtt import RttEstimator
from testbed.tcp.seam import CongestionController
from testbed.tcp.sent_queue import SACKED, Delivery, SentQueue, SentRange
from testbed.tcp.tail_loss_probe import TailLossProbe


class LossRecovery:
    """One connection's sender side of reliability. See the module for how it is used."""

    __slots__ = (
        "_ranges",
        "armed_at",
        "backoff",
        "clean",
        "congestion",
        "counters",
        "cwr_pending",
        "cwr_until",
        "delivery",
        "detection",
        "dup_acks",
        "established",
        "forced",
        "frto",
        "last_sent_at",
        "limited_transmit",
        "limited_until",
        "look_again_at",
        "newreno",
        "progress_at",
        "prr",
        "queue",
        "rack",
        "recovery_point",
        "rescue",
        "retransmitted_octets",
        "retransmitted_segments",
        "rtt",
        "sack_on",
        "smss",
        "snd_nxt",
        "snd_una",
        "state",
        "timeouts",
        "tlp",
        "undo_from",
        "undo_octets",
        "use_prr",
        "use_tlp",
    )

    def __init__(self, parameters: Parameters, congestion: CongestionController, counters: Counters) -> None:
        self.congestion = congestion
        self.counters = counters
        self.detection = parameters.recovery
        self.limited_transmit = parameters.limited_transmit
        self.use_prr = parameters.prr
        self.use_tlp = parameters.tail_loss_probe and parameters.recovery == "rack"
        self.queue = SentQueue()
        self._ranges = self.queue.ranges
        self.delivery = Delivery()
        self.rtt = RttEstimator(parameters)
        self.rack = Rack()
        self.tlp = TailLossProbe()
        self.prr = ProportionalRateReduction()
        self.frto = Frto(parameters.frto)
        self.newreno = NewReno()
        self.smss = 536
        """Payload octets of a full packet (RFC 9293 MUST-15's default until the handshake is complete)."""
        self.sack_on = False
        self.established = False
        self.snd_una = 0
        self.snd_nxt = 0
        self.state = OPEN
        self.clean = False
        """Nothing suspicious at all: acknowledgments take the short way."""
        self.recovery_point = 0
        """snd_nxt when the recovery (or the reaction to ECE) began."""
        self.dup_acks = 0
        self.forced = False
        """The next retransmission leaves whatever cwnd says (the first of a recovery, RFC 5681 §3.2 step 3)."""
        self.rescue = -1
        """HighRescue's role: the rescue retransmission of this recovery was sent (0) or not (-1)."""
        self.undo_octets = -1
        """Retransmitted octets of the last recovery that no D-SACK has reported superfluous; -1: nothing to undo."""
        self.undo_from = 0
        """snd_una when that recovery began: a D-SACK below it belongs to an earlier one (Linux undo_marker)."""
        self.cwr_until = 0
        """No second reaction to ECE before this offset is acknowledged (RFC 3168 §6.1.2)."""
        self.cwr_pending = False
        """The next new data segment carries CWR; the connection clears it."""
        self.limited_until = -1
        """cwnd was full when snd_nxt was this: ACKs up to it are those of a full window."""
        self.armed_at = 0
        """The retransmission timer was last restarted then (RFC 6298 (5.1), (5.3))."""
        self.last_sent_at = -1
        self.progress_at = 0
        """Since when what is outstanding has seen no progress: the user timeout counts from here."""
        self.look_again_at = 0
        """RACK's reordering timer; 0: off."""
        self.backoff = 0
        """Doublings of the RTO in force; reset by a valid RTT sample (Karn)."""
        self.timeouts = 0
        """RTOs since snd_una advanced: what R1 and R2 are compared with (RFC 9293 MUST-20)."""
        self.retransmitted_segments = 0
        """In all, as tcpi_total_retrans."""
        self.retransmitted_octets = 0
        """In all, as tcpi_bytes_retrans."""

    # --- what others read ---

    @property
    def srtt(self) -> int:
        """ns; 0 before the first sample."""
        return self.rtt.srtt

    @property
    def rttvar(self) -> int:
        """ns."""
        return self.rtt.rttvar

    @property
    def rto(self) -> int:
        """ns, backoff applied."""
        return min(self.rtt.rto << self.backoff, self.rtt.max_rto)

    @property
    def pipe(self) -> int:
        """Octets in flight by estimate (RFC 6675 §4 SetPipe)."""
        queue = self.queue
        return self.snd_nxt - self.snd_una - queue.sacked - queue.lost + queue.retransmitted

    @property
    def in_recovery(self) -> bool:
        """Fast recovery or the recovery after a timeout is under way."""
        return self.state >= RECOVERY

    # --- life of the connection ---

    def established_now(self, now: int, smss: int, sack_on: bool) -> None:
        """The handshake is complete (its ACK has been given to ``acknowledge``): sets the initial window.

        RFC 5681 §3.1: one segment after a lost SYN; RFC 6298 (5.7): an RTO of 3 s then.
        """
        syn_was_lost = self.timeouts > 0 or self.backoff > 0
        self.smss = smss
        self.sack_on = sack_on
        self.established = True
        self.timeouts = 0
        self.congestion.on_established(now, smss, self.rtt.srtt or None)
        if syn_was_lost:
            self.rtt.syn_was_lost()
            self.congestion.cwnd = smss
        self.backoff = 0
        self.last_sent_at = now
        settle(self)

    def mss_changed(self, smss: int, now: int) -> None:
        """Path MTU discovery changed the payload size. When it shrank, what was sent too large is lost, without any
        reaction of congestion control (RFC 1191 §6.5)."""
        shrank = smss < self.smss
        self.smss = smss
        self.congestion.on_mss_change(smss)
        if shrank:
            for sent_range in self._ranges:
                if sent_range.end - sent_range.start > smss and not sent_range.marks & SACKED:
                    self.queue.mark_lost(sent_range)
            if self.queue.waiting:
                if self.state < RECOVERY:
                    self.state = LOSS
                    self.recovery_point = self.snd_nxt
                self.forced = True
                self.clean = False

    # --- sending ---

    def transmitted(self, start: int, end: int, now: int, is_retransmission: bool) -> None:
        """A segment with offsets ``start`` to ``end`` (SYN and FIN counted) has left."""
        # Each transmission has a time of its own, so that RACK knows the order even of those that leave at the same
        # reading of the clock (a batch of arrivals, an instant of virtual time): RFC 8985 §6.2 RACK_sent_after.
        if now <= self.last_sent_at:
            now = self.last_sent_at + 1
        self.last_sent_at = now
        if is_retransmission:
            self._retransmitted(start, end, now)
            return
        self._ranges.append(SentRange(start, end, now))
        outstanding = end - self.snd_una
        if start == self.snd_una:
            self.armed_at = self.progress_at = now
        self.snd_nxt = end
        if self.clean:
            if outstanding + self.smss > self.congestion.cwnd:
                self.limited_until = end
        else:
            self._transmitted_in_disorder(end)

    def _transmitted_in_disorder(self, end: int) -> None:
        self.prr.out += end - self._ranges[-1].start
        if self.tlp.due:
            self.tlp.sent(end, is_retransmission=False)
            self.counters.add("TcpExtTCPLossProbes")
        self.frto.new_data_sent(end - self._ranges[-1].start)
        if self.pipe + self.smss > self.congestion.cwnd:
            self.limited_until = end

    def _retransmitted(self, start: int, end: int, now: int) -> None:
        self.queue.retransmit(start, end, now)
        self.retransmitted_segments += 1
        self.retransmitted_octets += end - start
        self.prr.out += end - start
        self.forced = False
        self.clean = False
        if self.tlp.due:
            self.tlp.sent(self.snd_nxt, is_retransmission=True)
            self.counters.add("TcpExtTCPLossProbes")
        elif self.undo_octets >= 0:
            self.undo_octets += end - start
        self.counters.add("TcpRetransSegs")

    def send_allowance(self, now: int) -> int:
        """Octets of new data that cwnd lets leave now; 0 or less: none. A segment longer than this does not leave."""
        queue = self.queue
        room = self.congestion.cwnd - (self.snd_nxt - self.snd_una - queue.sacked - queue.lost + queue.retransmitted)
        if self.clean:
            if self.snd_nxt == self.snd_una and now - self.last_sent_at > self.rtt.rto:
                self.congestion.on_idle(now, now - self.last_sent_at, self.rtt.rto)
                self.last_sent_at = now
                return self.congestion.cwnd
            return room
        return self._allowance_in_disorder(room)

    def _allowance_in_disorder(self, room: int) -> int:
        if self.tlp.due:
            return max(room, self.smss)
        if self.frto.waits_for_second_ack:
            return self.frto.new_octets_left
        if self.queue.waiting:
            return 0  # losses first
        if self.state == DISORDER:
            if not self.limited_transmit:
                return room - self.queue.sacked
            if not self.sack_on:
                return room + min(self.dup_acks, rfc6675.DUP_THRESH - 1) * self.smss
        return room

    def segment_to_retransmit(self, now: int, longest: int) -> tuple[int, int] | None:
        """The next lost range of at most ``longest`` octets, if cwnd lets it leave; None: nothing for now."""
        queue = self.queue
        if not queue.waiting or self.frto.waits_for_second_ack:
            return None
        lost = queue.next_lost(min(longest, self.smss) if self.forced else longest)
        if lost is None or self.forced:
            return lost
        start, end = lost
        room = self.congestion.cwnd - self.pipe
        if end - start > room:
            if room < self.smss:
                return None
            end = start + room - room % self.smss
        return start, end

    def segment_without_new_data(self, now: int, longest: int) -> tuple[int, int] | None:
        """What to send again when there is no new data to send: the tail loss probe that is due, F-RTO's way back, or
        rules 3 and 4 of RFC 6675's NextSeg. None nearly always."""
        if self.clean:
            return None
        if self.tlp.due:
            if not self._ranges:
                self.tlp.due = False
                return None
            tail = self._ranges[-1]
            return max(tail.start, tail.end - min(longest, self.smss)), tail.end
        if self.frto.gives_up_without_new_data():
            return self.segment_to_retransmit(now, longest)
        if self.state == RECOVERY and self.detection == "rfc6675" and self.sack_on and not self.queue.waiting:
            room = self.congestion.cwnd - self.pipe
            if room < self.smss:
                return None
            sent_range, is_rescue = rfc6675.next_without_new_data(self.queue, self.rescue, self.recovery_point)
            if sent_range is not None:
                if is_rescue:
                    self.rescue = 0
                    return max(sent_range.start, sent_range.end - self.smss), sent_range.end
                return sent_range.start, min(sent_range.end, sent_range.start + min(longest, self.smss))
        return None

    # --- acknowledgments ---

    def acknowledge(
        self,
        ack: int,
        blocks: Sequence[tuple[int, int]],
        now: int,
        rtt_from_timestamps: int | None,
        ece: bool,
        may_be_duplicate: bool,
    ) -> int:
        """An acceptable ACK (snd_una <= ``ack`` <= snd_nxt) arrived; returns the octets it newly acknowledges.

        ``blocks``: SACK blocks as offsets, in the order of the option. ``may_be_duplicate``: RFC 5681 §2's test but for
        the ACK number: no data, no SYN or FIN, window unchanged (and, per the layer above, not only a signal).
        """
        acked = ack - self.snd_una
        if not self.clean or blocks or ece or acked <= 0:
            if not acked and not blocks and not ece and (not may_be_duplicate or not self._ranges):
                return 0
            return acknowledge_carefully(self, ack, blocks, now, rtt_from_timestamps, ece, may_be_duplicate)
        flight = self.snd_nxt - self.snd_una
        ranges = self._ranges
        oldest = last = ranges[0]
        done = 0
        for last in ranges:
            if last.end >= ack:
                break
            done += 1
        sent_at = last.sent_at
        if last.end == ack:
            done += 1
        else:
            last.start = ack
        del ranges[:done]
        self.snd_una = ack
        self.armed_at = self.progress_at = now
        self.backoff = 0
        rack = self.rack
        rack.sent_at = sent_at
        rack.end = ack
        rack.rtt = newest_rtt = now - sent_at
        self.queue.highest_delivered = ack
        rtt = self.rtt
        rtt.sample(now - oldest.sent_at, now)
        congestion = self.congestion
        congestion.on_ack(
            now,
            acked,
            rtt.srtt,
            newest_rtt,
            flight,
            ack <= self.limited_until or (congestion.cwnd < congestion.ssthresh and flight << 1 >= congestion.cwnd),
        )
        return acked

    # --- timers ---

    def next_timeout(self) -> int | None:
        """When ``handle_timeout`` is due; ask again after every call that changes anything."""
        if self.snd_una == self.snd_nxt:
            return None
        rtt = self.rtt
        rto = rtt.rto
        if self.backoff:
            rto = min(rto << self.backoff, rtt.max_rto)
        deadline = self.armed_at + rto
        if self.clean:
            if self.use_tlp and self.sack_on:
                probe = self._probe_at()
                return probe if probe < deadline else deadline  # then the probe takes the RTO's place (§7.2)
        elif self.look_again_at and self.look_again_at < deadline:
            return self.look_again_at
        return deadline

    def _probe_at(self) -> int:
        """PTO of RFC 8985 §7.2."""
        since = self.last_sent_at if self.last_sent_at > self.armed_at else self.armed_at
        srtt = self.rtt.srtt
        wait = srtt << 1 if srtt else SECOND
        if self.snd_nxt - self.snd_una <= self.smss:
            wait += TailLossProbe.MAX_ACK_DELAY_NS
        return since + wait

    def handle_timeout(self, now: int) -> TimeoutAction:
        """A timer has expired (or not: then nothing happens)."""
        deadline = self.next_timeout()
        if deadline is None or now < deadline:
            return TimeoutAction.NOTHING
        if self.look_again_at and now >= self.look_again_at and not self.clean:
            return look_again(self, now)
        if not (self.clean and self.use_tlp and self.sack_on):
            return retransmission_timeout(self, now)
        self.tlp.due = True
        self.armed_at = now  # RFC 8985 §7.3: the RTO counts from the probe
        self.clean = False
        return TimeoutAction.PROBE_TAIL
