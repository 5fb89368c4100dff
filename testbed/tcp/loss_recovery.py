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
from enum import Enum
from typing import Final

from testbed.tcp import rack as rack_module
from testbed.tcp import rfc6675
from testbed.tcp.counters import Counters
from testbed.tcp.frto import Frto
from testbed.tcp.newreno import NewReno
from testbed.tcp.parameters import SECOND, Parameters
from testbed.tcp.prr import ProportionalRateReduction
from testbed.tcp.rack import Rack
from testbed.tcp.rtt import RttEstimator
from testbed.tcp.seam import CongestionController
from testbed.tcp.sent_queue import Delivery, SentQueue, SentRange
from testbed.tcp.tail_loss_probe import TailLossProbe

NO_BLOCKS: tuple[tuple[int, int], ...] = ()

OPEN: Final = 0
"""Nothing suspicious. With DISORDER, RECOVERY and LOSS the names of Linux's tcp_ca_state."""
DISORDER: Final = 1
"""Duplicate ACKs or SACKs, not enough to call it a loss."""
RECOVERY: Final = 2
"""Fast recovery until ``recovery_point``."""
LOSS: Final = 3
"""After a retransmission timeout, until ``recovery_point``."""


class TimeoutAction(Enum):
    """What a timer asks the connection to do, by running its transmission as usual."""

    NOTHING = "nothing"
    RETRANSMIT = "retransmit"
    """There are losses to send again."""
    PROBE_TAIL = "probe-tail"
    """One new segment, whatever cwnd says; if there is none, ``segment_without_new_data``."""


class LossRecovery:
    """One connection's sender side of reliability. See the module for how it is used."""

    __slots__ = (
        "_delivery",
        "_ranges",
        "armed_at",
        "backoff",
        "clean",
        "congestion",
        "counters",
        "cwr_pending",
        "cwr_until",
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
        self._delivery = Delivery()
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
        self.cwr_until = 0
        """No second reaction to ECE before this offset is acknowledged (RFC 3168 §6.1.2)."""
        self.cwr_pending = False
        """The next new data segment carries CWR; the connection clears it."""
        self.limited_until = -1
        """cwnd was full when snd_nxt was this: ACKs up to it are those of a full window."""
        self.armed_at = 0
        """The retransmission timer was last restarted then (RFC 6298 (5.1), (5.3))."""
        self.last_sent_at = 0
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
        self._settle()

    def mss_changed(self, smss: int, now: int) -> None:
        """Path MTU discovery changed the payload size. When it shrank, what was sent too large is lost, without any
        reaction of congestion control (RFC 1191 §6.5)."""
        shrank = smss < self.smss
        self.smss = smss
        self.congestion.on_mss_change(smss)
        if shrank:
            for sent_range in self._ranges:
                if sent_range.end - sent_range.start > smss:
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
        if is_retransmission:
            self._retransmitted(start, end, now)
            return
        self._ranges.append(SentRange(start, end, now))
        outstanding = end - self.snd_una
        if start == self.snd_una:
            self.armed_at = self.progress_at = now
        self.snd_nxt = end
        self.last_sent_at = now
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
        lost = queue.next_lost()
        if lost is None:
            return None
        end = min(lost.end, lost.start + longest)
        room = self.congestion.cwnd - self.pipe
        if end - lost.start > room and not self.forced:
            if room < self.smss:
                return None
            end = lost.start + room - room % self.smss
        elif self.forced:
            end = min(end, lost.start + self.smss)
        return lost.start, end

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
            return self._acknowledge_carefully(ack, blocks, now, rtt_from_timestamps, ece, may_be_duplicate)
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

    def _acknowledge_carefully(
        self,
        ack: int,
        blocks: Sequence[tuple[int, int]],
        now: int,
        rtt_from_timestamps: int | None,
        ece: bool,
        may_be_duplicate: bool,
    ) -> int:
        queue = self.queue
        delivery = self._delivery
        delivery.clear()
        before = self.snd_una
        flight = self.snd_nxt - before
        dsack = self._dsack_octets(ack, blocks) if blocks else 0
        if ack > before:
            queue.acknowledge(ack, delivery)
            self.snd_una = ack
            self.armed_at = self.progress_at = now
            self.timeouts = 0
        if blocks and self.sack_on:
            for left, right in blocks:
                if ack < right <= self.snd_nxt and left < right:
                    queue.sack(max(left, ack), right, delivery)
        self._measure(delivery, now, rtt_from_timestamps)
        self.rack.update(delivery, now, self.rtt.min_rtt)
        is_duplicate = delivery.sacked > 0 if self.sack_on else may_be_duplicate and ack == before and not dsack
        if self.established:
            if dsack:
                self._dsack_arrived(dsack, now)
            if self.tlp.end:
                self._settle_probe(ack, dsack, is_duplicate or (may_be_duplicate and ack == before), now)
            if ece:
                self._ece_arrived(ack, flight, now)
            self._advance(delivery, flight, is_duplicate, ece, now)
        self._settle()
        return delivery.acked

    def _measure(self, delivery: Delivery, now: int, rtt_from_timestamps: int | None) -> None:
        """Karn's algorithm: no sample from an ACK that covers a retransmission, but from a timestamp (RFC 7323 §4).

        What had waited behind the hole is acknowledged with it: its age says nothing about the path.
        """
        if delivery.oldest_sent_at >= 0 and not delivery.retransmission_acked:
            self.rtt.sample(now - delivery.oldest_sent_at, now)
        elif delivery.acked and rtt_from_timestamps is not None:
            self.rtt.sample(rtt_from_timestamps, now)
        else:
            return
        self.backoff = 0

    def _advance(self, delivery: Delivery, flight: int, is_duplicate: bool, ece: bool, now: int) -> None:
        """The state machine: what this acknowledgment means for the state that the sender is in."""
        ack = self.snd_una
        state = self.state
        if state >= RECOVERY and ack >= self.recovery_point and delivery.acked:
            self._exit_recovery(now)
            if state == RECOVERY:
                return
            state = OPEN
        if state == LOSS:
            self._advance_after_timeout(delivery, flight, now)
            return
        if delivery.acked:
            if state == RECOVERY:
                if not self.sack_on:
                    self.newreno.partial_ack(self, delivery.acked, now)
                    return
            else:
                self.dup_acks = 0
                if not ece and ack >= self.cwr_until:
                    self._grow(delivery, flight, now)
        if is_duplicate:
            self.dup_acks += 1
        if not self.sack_on:
            if is_duplicate:
                self.newreno.duplicate_ack(self, flight, now)
            return
        self._detect(now)
        if self.state == RECOVERY:
            if self.use_prr and delivery.delivered:
                self.congestion.cwnd = self.prr.window(
                    delivery.delivered, self.pipe, self.congestion.ssthresh, self.smss
                )
        elif self.queue.waiting:
            self.enter_recovery(flight, now)
            self.counters.add("TcpExtTCPSackRecovery")

    def _advance_after_timeout(self, delivery: Delivery, flight: int, now: int) -> None:
        if self.frto.phase:
            waited_for_second = self.frto.waits_for_second_ack
            if self.frto.acknowledged(delivery.acked > 0, self.smss):
                self.counters.add("TcpExtTCPSpuriousRTOs")
                self._undo(now)
                return
            if self.frto.phase:
                return  # the next ACK decides
            if waited_for_second:
                # Step 3a: the two new segments are in flight; room for them and for what was lost.
                self.congestion.cwnd = max(self.congestion.cwnd, 3 * self.smss)
        if delivery.acked:
            self._grow(delivery, self.pipe + delivery.delivered, now)
        if self.sack_on and self.detection == "rack":
            self._detect(now)

    def _grow(self, delivery: Delivery, flight: int, now: int) -> None:
        congestion = self.congestion
        rtt = (
            now - delivery.newest_sent_at
            if delivery.newest_sent_at >= 0 and not delivery.newest_retransmitted
            else None
        )
        limited = (
            self.snd_una <= self.limited_until
            or self.state == LOSS
            or (congestion.cwnd < congestion.ssthresh and flight << 1 >= congestion.cwnd)
        )
        congestion.on_ack(now, delivery.acked, self.rtt.srtt, rtt, flight, limited)

    def _detect(self, now: int) -> None:
        """Mark losses by the method in force."""
        queue = self.queue
        if self.detection == "rack":
            rtt = self.rtt
            window = self.rack.reordering_window(
                self.state >= RECOVERY,
                rack_module.enough_sacked(queue.sacked, self.dup_acks, self.smss),
                rtt.min_rtt,
                rtt.srtt,
            )
            self.look_again_at = self.rack.detect(queue, now, window)
            return
        rfc6675.mark_lost(queue, self.smss)
        if self.dup_acks >= rfc6675.DUP_THRESH and self.state < RECOVERY and queue.sacked:
            rfc6675.mark_head_lost(queue, self.smss)

    def enter_recovery(self, flight: int, now: int) -> None:
        """Fast retransmit: halve (or whatever the controller does), and send the first loss at once."""
        self.state = RECOVERY
        self.recovery_point = self.snd_nxt
        self.undo_octets = 0
        self.rescue = -1
        self.forced = True
        self.limited_until = -1
        congestion = self.congestion
        if self.snd_una >= self.cwr_until:  # else ECE has been answered in this very window
            # FlightSize (RFC 5681 §2) counts SACKed octets, which a long recovery lets grow far beyond cwnd.
            congestion.on_congestion_event(now, min(flight, congestion.cwnd))
        self.prr.begin(flight)
        if not self.use_prr or not self.sack_on:
            congestion.cwnd = congestion.ssthresh
        else:
            congestion.cwnd = self.prr.window(self._delivery.delivered, self.pipe, congestion.ssthresh, self.smss)

    def _exit_recovery(self, now: int) -> None:
        if self.state == RECOVERY:
            if self.sack_on:
                self.congestion.on_recovery_exit(now)
                self.rack.recovery_exited()
            else:
                self.newreno.full_ack(self, now)
        self.frto.phase = 0
        self.state = OPEN
        self.dup_acks = 0
        self.forced = False
        self.look_again_at = 0

    def _settle(self) -> None:
        """Find out whether the short way can be taken again, and name the state between OPEN and RECOVERY."""
        queue = self.queue
        suspicious = self.dup_acks > 0 or queue.sacked > 0 or queue.lost > 0
        if self.state < RECOVERY:
            self.state = DISORDER if suspicious else OPEN
            if not queue.lost and not queue.sacked:
                self.look_again_at = 0
        self.clean = (
            self.established
            and self.state == OPEN
            and not queue.retransmitted
            and not self.tlp.end
            and not self.tlp.due
            and self.snd_una >= self.cwr_until
        )

    # --- D-SACK, undo, ECN, probes ---

    def _dsack_octets(self, ack: int, blocks: Sequence[tuple[int, int]]) -> int:
        """Octets that the first block reports as received twice (RFC 2883 §4), else 0."""
        left, right = blocks[0]
        if left >= right or left < 0:
            return 0
        if right <= ack:
            return right - left
        if len(blocks) > 1 and blocks[1][0] <= left and right <= blocks[1][1]:
            return right - left
        return 0

    def _dsack_arrived(self, octets: int, now: int) -> None:
        self.counters.add("TcpExtTCPDSACKRecv")
        self.rack.note_dsack(self.snd_una, self.snd_nxt)
        if self.undo_octets > 0:
            self.undo_octets -= octets
            if self.undo_octets <= 0:
                # Every retransmission was superfluous: nothing had been lost.
                self.counters.add("TcpExtTCPDSACKUndo")
                self._undo(now)

    def _undo(self, now: int) -> None:
        self.congestion.on_spurious(now)
        if self.state >= RECOVERY:
            self.queue.unmark_all_lost()
            self.state = OPEN
            self.dup_acks = 0
            self.forced = False
        self.frto.phase = 0
        self.undo_octets = -1

    def _settle_probe(self, ack: int, dsack: int, is_duplicate: bool, now: int) -> None:
        """RFC 8985 §7.4.2: did the probe repair a loss that nobody else saw?"""
        tlp = self.tlp
        if not tlp.is_retransmission or self.state >= RECOVERY:
            if ack >= tlp.end or self.state >= RECOVERY:
                tlp.end = 0
            return
        if ack < tlp.end:
            return
        if dsack or (ack == tlp.end and is_duplicate and ack == self.snd_una and not self._delivery.acked):
            tlp.end = 0  # original and probe both arrived
        elif ack > tlp.end:
            tlp.end = 0
            self.counters.add("TcpExtTCPLossProbeRecovery")
            self.congestion.on_congestion_event(now, self.pipe + self._delivery.delivered)
            self.congestion.on_recovery_exit(now)

    def _ece_arrived(self, ack: int, flight: int, now: int) -> None:
        """RFC 3168 §6.1.2: as a single loss, at most once per window of data."""
        if ack >= self.cwr_until and self.state < RECOVERY and flight:
            self.congestion.on_congestion_event(now, min(flight, self.congestion.cwnd))
            self.congestion.on_recovery_exit(now)
            self.cwr_until = self.snd_nxt
            self.cwr_pending = True

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
            return self._look_again(now)
        if not (self.clean and self.use_tlp and self.sack_on):
            return self._retransmission_timeout(now)
        self.tlp.due = True
        self.armed_at = now  # RFC 8985 §7.3: the RTO counts from the probe
        self.clean = False
        return TimeoutAction.PROBE_TAIL

    def _look_again(self, now: int) -> TimeoutAction:
        self.look_again_at = 0
        flight = self.snd_nxt - self.snd_una
        self._detect(now)
        if not self.queue.waiting:
            return TimeoutAction.NOTHING
        if self.state < RECOVERY:
            self._delivery.clear()
            self.enter_recovery(flight, now)
            self.counters.add("TcpExtTCPSackRecovery")
        return TimeoutAction.RETRANSMIT

    def _retransmission_timeout(self, now: int) -> TimeoutAction:
        """RFC 6298 (5.4) to (5.6), RFC 5681 §3.1, RFC 5682 §2."""
        queue = self.queue
        congestion = self.congestion
        self.counters.add("TcpExtTCPTimeouts")
        self.backoff = min(self.backoff + 1, 32)
        self.timeouts += 1
        self.armed_at = now
        self.look_again_at = 0
        self.tlp.due = False
        self.tlp.end = 0
        self.limited_until = -1
        self.clean = False
        if self.established:
            is_first = self.state != LOSS or self.timeouts == 1
            self.frto.timed_out(is_first and self.state < RECOVERY and self.snd_una >= self.recovery_point)
            if is_first:
                flight = self.snd_nxt - self.snd_una - queue.lost + queue.retransmitted
                congestion.on_timeout(now, min(flight, congestion.cwnd))
                self.undo_octets = 0
            else:
                congestion.cwnd = self.smss
            self.state = LOSS
            self.recovery_point = self.snd_nxt
            self.dup_acks = 0
        queue.forget_sacks()
        queue.mark_all_lost()
        self.forced = True
        return TimeoutAction.RETRANSMIT
