"""T11, T21 to T25, T28 of the checklist: timeouts, SACK at the sender, RFC 6675, RACK-TLP, limited transmit."""

from __future__ import annotations

import pytest
from recovery_pipe import SMSS, Pipe

from testbed.tcp.counters import Counters
from testbed.tcp.loss_recovery import LossRecovery
from testbed.tcp.parameters import MS, SECOND, Parameters
from testbed.tcp.recovery_states import DISORDER, LOSS, OPEN, RECOVERY, TimeoutAction
from testbed.tcp.reno import Reno
from testbed.tcp.seam import CongestionController
from testbed.tcp.sent_queue import LOST, SACKED

RTT = 100 * MS
FAR = 1 << 40
JUST = 100
"""ns: what leaves at one instant is stamped a nanosecond apart."""


def edge(index: int) -> int:
    """Offset at which segment ``index`` (from 0) begins."""
    return 1 + index * SMSS


class Sender:
    """A LossRecovery after a handshake of 100 ms, and what it lets leave."""

    def __init__(
        self,
        parameters: Parameters | None = None,
        *,
        sack: bool = True,
        window: int = 20,
        congestion: CongestionController | None = None,
    ) -> None:
        self.cc = congestion or Reno(window * SMSS)
        self.counters = Counters()
        self.recovery = LossRecovery(parameters or Parameters(), self.cc, self.counters)
        self.recovery.transmitted(0, 1, 0, False)
        self.recovery.acknowledge(1, (), RTT, None, False, False)
        self.recovery.established_now(RTT, SMSS, sack)
        self.now = RTT
        self.next = 0
        """Segments of new data sent."""

    def new(self, limit: int = 1 << 30) -> list[int]:
        """Send new segments as the allowance permits; their indices."""
        sent = []
        while len(sent) < limit and self.recovery.send_allowance(self.now) >= SMSS:
            self.recovery.transmitted(edge(self.next), edge(self.next + 1), self.now, False)
            sent.append(self.next)
            self.next += 1
        return sent

    def again(self) -> list[int]:
        """Send what is to be retransmitted now; indices of the segments."""
        sent = []
        while (lost := self.recovery.segment_to_retransmit(self.now, SMSS)) is not None:
            assert (lost[0] - 1) % SMSS == 0
            self.recovery.transmitted(lost[0], lost[1], self.now, True)
            sent.append((lost[0] - 1) // SMSS)
        return sent

    def ack(self, index: int, *blocks: tuple[int, int], ece: bool = False, duplicate: bool = True) -> int:
        """ACK of everything below segment ``index``, SACK blocks given as segment indices."""
        offsets = [(edge(left), edge(right)) for left, right in blocks]
        return self.recovery.acknowledge(edge(index), offsets, self.now, None, ece, duplicate)

    def timer(self) -> TimeoutAction:
        """Let time pass until the timer expires."""
        timeout = self.recovery.next_timeout()
        assert timeout is not None
        self.now = max(self.now, timeout)
        return self.recovery.handle_timeout(self.now)


NO_TLP = Parameters(tail_loss_probe=False)


def test_t11_karn_takes_no_sample_from_what_was_retransmitted() -> None:
    sender = Sender(NO_TLP)
    sender.new(1)
    srtt = sender.recovery.srtt
    sender.timer()
    assert sender.again() == [0]
    sender.now += 10 * SECOND  # were it measured, SRTT would be seconds
    sender.ack(1)
    assert sender.recovery.srtt == srtt


def test_t11_backoff_stays_until_a_segment_sent_once_is_acknowledged() -> None:
    sender = Sender(NO_TLP)
    sender.new(2)
    base = sender.recovery.rto
    for doublings in (1, 2, 3):
        assert sender.timer() is TimeoutAction.RETRANSMIT
        sender.again()
        assert sender.recovery.rto == base << doublings
    sender.ack(2)  # the first is ambiguous, and the second waited behind it
    assert sender.recovery.rto == base << 3
    sender.new(1)
    sender.now += RTT
    sender.ack(3)
    assert sender.recovery.rto <= base


def test_t11_a_timestamp_makes_the_sample_of_a_retransmission_valid() -> None:
    sender = Sender(NO_TLP)
    sender.new(1)
    sender.timer()
    sender.again()
    sender.now += RTT
    sender.recovery.acknowledge(edge(1), (), sender.now, RTT, False, True)
    assert sender.recovery.backoff == 0


def test_t11_timeout_falls_to_one_segment_then_slow_start_then_avoidance() -> None:
    sender = Sender(Parameters(tail_loss_probe=False, frto=False))
    assert len(sender.new()) == 20
    sender.timer()
    assert (sender.cc.cwnd, sender.cc.ssthresh) == (SMSS, 10 * SMSS)
    assert sender.again() == [0]
    window = []
    while sender.recovery.snd_una < edge(20):
        sender.now += RTT
        sender.ack((sender.recovery.snd_una - 1) // SMSS + 1)
        window.append(sender.cc.cwnd // SMSS)
        sender.again()
        sender.new()
    assert window[:9] == [2, 3, 4, 5, 6, 7, 8, 9, 10]  # one segment for each one acknowledged: slow start
    assert window[12] == 10  # one for each window: congestion avoidance


def test_t11_repeated_timeouts_of_one_segment_lower_ssthresh_once() -> None:
    sender = Sender(NO_TLP)
    sender.new()
    sender.timer()
    threshold = sender.cc.ssthresh
    sender.again()
    sender.timer()
    assert sender.cc.ssthresh == threshold
    assert sender.recovery.timeouts == 2


def test_t21_sacked_data_is_kept_until_acknowledged_cumulatively() -> None:
    sender = Sender()
    sender.new(5)
    sender.ack(0, (1, 5))
    assert sender.recovery.snd_una == edge(0)
    assert sum(r.end - r.start for r in sender.recovery.queue.ranges) == 5 * SMSS


def test_t21_sacks_are_forgotten_on_a_timeout_and_everything_goes_again() -> None:
    sender = Sender(Parameters(frto=False))
    sender.new(5)
    sender.ack(0, (2, 3))  # one SACK: not enough for a loss
    while sender.recovery.state != LOSS:
        sender.timer()
        sender.again()
    assert sender.recovery.queue.sacked == 0
    resent = []
    while sender.recovery.snd_una < edge(5):
        sender.now += RTT
        sender.ack((sender.recovery.snd_una - 1) // SMSS + 1)
        resent += sender.again()
    assert 2 in resent


def test_t21_blocks_of_a_peer_that_may_not_send_them_are_ignored() -> None:
    sender = Sender(sack=False)
    sender.new(5)
    sender.ack(0, (1, 5))
    assert sender.recovery.queue.sacked == 0


def test_t21_nonsense_blocks_change_nothing() -> None:
    sender = Sender()
    sender.new(5)
    for block in ((3, 3), (4, 2), (4, 60), (-9, -7)):
        sender.ack(0, block)
    assert sender.recovery.queue.sacked == 0


def test_t22_dsack_of_every_retransmission_takes_the_reduction_back() -> None:
    sender = Sender()
    sender.new()
    cwnd = sender.cc.cwnd
    sender.now += RTT
    sender.ack(0, (1, 4))
    assert sender.again() == [0]
    assert sender.cc.ssthresh == cwnd // 2
    sender.now += RTT
    sender.ack(20)  # the original was only late
    sender.ack(20, (0, 1))  # and so the retransmission is reported as duplicate
    assert sender.cc.cwnd >= cwnd
    assert sender.counters["TcpExtTCPDSACKUndo"] == 1


def test_t22_dsack_inside_another_block_is_recognised_and_is_no_new_sack() -> None:
    sender = Sender()
    sender.new()
    sender.ack(0, (3, 5))
    sacked = sender.recovery.queue.sacked
    sender.ack(0, (3, 4), (3, 5))
    assert sender.counters["TcpExtTCPDSACKRecv"] == 1
    assert sender.recovery.queue.sacked == sacked
    assert sender.recovery.dup_acks == 1


def test_t22_dsack_of_one_of_two_retransmissions_undoes_nothing() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 4), (5, 9))
    assert sender.again()[:2] == [0, 4]
    sender.now += RTT
    sender.ack(20, (0, 1))
    assert sender.cc.ssthresh == 10 * SMSS


COUNTING = Parameters(recovery="rfc6675", prr=False)


def test_t23_a_segment_is_lost_when_more_than_two_segments_above_are_sacked() -> None:
    sender = Sender(COUNTING)
    sender.new()
    sender.ack(0, (1, 3))
    assert sender.recovery.state == DISORDER
    sender.ack(0, (1, 4))
    assert sender.recovery.state == RECOVERY
    assert sender.again() == [0]


def test_t23_three_discontiguous_blocks_suffice_however_small() -> None:
    sender = Sender(COUNTING)
    for _ in range(8):
        start = sender.recovery.snd_nxt
        sender.recovery.transmitted(start, start + 10, sender.now, False)
    sender.recovery.acknowledge(1, [(11, 21), (31, 41), (51, 61)], sender.now, None, False, True)
    assert sender.recovery.segment_to_retransmit(sender.now, SMSS) == (1, 11)


def test_t23_pipe_counts_neither_sacked_nor_lost_but_retransmissions() -> None:
    sender = Sender(COUNTING)
    sender.new()
    sender.ack(0, (1, 4), (5, 7))
    # Lost: 0 (five above) but not 4 (two above); SACKed: five.
    assert sender.recovery.pipe == (20 - 5 - 1) * SMSS
    sender.again()
    assert sender.recovery.pipe == (20 - 5 - 1 + 1) * SMSS


def test_t23_next_segment_is_lost_then_new_then_unsacked_then_rescue() -> None:
    sender = Sender(COUNTING, window=10)
    sender.new()
    sender.ack(0, (1, 6), (7, 8))
    assert sender.again() == [0]  # rule 1; segment 6 has only one SACKed above
    # Rule 2 would send new data now; the user has none. Rule 3: 6 is not lost, but below the highest SACKed.
    sender.cc.cwnd = 10 * SMSS
    assert sender.recovery.segment_without_new_data(sender.now, SMSS) == (edge(6), edge(7))
    sender.recovery.transmitted(edge(6), edge(7), sender.now, True)
    # Rule 4: the end of the window, once.
    assert sender.recovery.segment_without_new_data(sender.now, SMSS) == (edge(9), edge(10))
    sender.recovery.transmitted(edge(9), edge(10), sender.now, True)
    assert sender.recovery.segment_without_new_data(sender.now, SMSS) is None


def test_t23_recovery_lasts_until_all_that_was_outstanding_is_acknowledged() -> None:
    sender = Sender(COUNTING)
    sender.new()
    sender.ack(0, (1, 4))
    sender.again()
    sender.ack(19)
    assert sender.recovery.state == RECOVERY
    sender.ack(20)
    assert sender.recovery.state == OPEN
    assert sender.cc.cwnd == sender.cc.ssthresh


def test_t24_rack_needs_time_not_count_once_reordering_was_seen() -> None:
    sender = Sender()
    sender.recovery.rack.reordering_seen = True
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 2))
    sender.ack(0, (1, 15))
    assert sender.recovery.state == DISORDER
    timeout = sender.recovery.next_timeout()
    assert timeout == pytest.approx(sender.now + RTT // 4, abs=JUST)  # reo_wnd = min_RTT/4
    assert sender.timer() is TimeoutAction.RETRANSMIT
    assert sender.again() == [0]


def test_t24_rack_finds_a_lost_retransmission_without_a_timeout() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 5))
    assert sender.again() == [0]
    sender.now += 1 * MS
    sender.new(1)  # sent after the retransmission
    sender.now += RTT
    sender.ack(0, (1, 21))
    assert sender.again() == [0]
    assert sender.counters["TcpExtTCPTimeouts"] == 0


def test_t24_dsack_widens_the_reordering_window_once_a_round_and_srtt_bounds_it() -> None:
    sender = Sender()
    rack = sender.recovery.rack
    sender.new()
    for _ in range(3):
        sender.ack(2, (0, 1))
    assert rack.multiplier == 2
    rack.reordering_seen = True
    rack.multiplier = 1000
    assert rack.reordering_window(False, False, RTT, 2 * RTT) == 2 * RTT
    for _ in range(16):
        rack.recovery_exited()
    assert rack.multiplier == 1


def test_t24_reordering_is_noticed() -> None:
    sender = Sender()
    sender.new()
    sender.ack(0, (1, 2))
    assert not sender.recovery.rack.reordering_seen
    sender.ack(2)  # 0 was never sent again: it was late
    assert sender.recovery.rack.reordering_seen


def test_t24_probe_timeout_is_two_srtt_or_with_a_delayed_ack_for_one_segment() -> None:
    sender = Sender()
    sender.new(2)
    assert sender.recovery.next_timeout() == pytest.approx(sender.now + 2 * RTT, abs=JUST)
    alone = Sender(Parameters(min_rto_ns=SECOND))
    alone.new(1)
    assert alone.recovery.next_timeout() == pytest.approx(alone.now + 2 * RTT + 200 * MS, abs=JUST)


def test_t24_probe_takes_the_place_of_an_earlier_timeout_and_the_timeout_counts_from_it() -> None:
    sender = Sender()  # the RTO is 300 ms, the PTO of a single segment would be 400 ms
    sender.new(1)
    rto = sender.recovery.rto
    assert rto < 2 * RTT + 200 * MS
    assert sender.timer() is TimeoutAction.PROBE_TAIL
    assert sender.now == pytest.approx(RTT + rto, abs=JUST)
    sender.recovery.transmitted(edge(0), edge(1), sender.now, True)
    assert sender.recovery.next_timeout() == pytest.approx(sender.now + rto, abs=JUST)


def test_t24_probe_is_new_data_even_beyond_cwnd_else_the_last_segment_and_only_once() -> None:
    with_data = Sender()
    with_data.new()
    assert with_data.timer() is TimeoutAction.PROBE_TAIL
    assert with_data.new() == [20]
    sender = Sender()
    sender.new()
    assert sender.timer() is TimeoutAction.PROBE_TAIL
    assert sender.recovery.segment_without_new_data(sender.now, SMSS) == (edge(19), edge(20))
    sender.recovery.transmitted(edge(19), edge(20), sender.now, True)
    assert sender.timer() is TimeoutAction.RETRANSMIT  # the second is the RTO


def test_t24_a_probe_that_repaired_a_loss_lowers_the_window() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(19)
    sender.timer()
    sender.recovery.segment_without_new_data(sender.now, SMSS)
    sender.recovery.transmitted(edge(19), edge(20), sender.now, True)
    end = sender.recovery.snd_nxt
    cwnd = sender.cc.cwnd
    sender.new(1)
    sender.now += RTT
    sender.ack(21)
    assert sender.recovery.snd_una > end
    assert sender.cc.cwnd < cwnd
    assert sender.counters["TcpExtTCPLossProbeRecovery"] == 1


def test_t24_a_probe_that_was_a_duplicate_lowers_nothing() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(19)
    sender.timer()
    sender.recovery.transmitted(edge(19), edge(20), sender.now, True)
    cwnd = sender.cc.cwnd
    sender.ack(20)
    sender.ack(20, (19, 20))
    assert sender.cc.cwnd >= cwnd
    assert sender.recovery.tlp.end == 0


def test_t25_first_sample_then_smoothing() -> None:
    sender = Sender()
    rtt = sender.recovery.rtt
    assert (rtt.srtt, rtt.rttvar) == (RTT, RTT // 2)
    rtt.sample(RTT + 80 * MS, 0)
    assert rtt.rttvar == RTT // 2 * 3 // 4 + 80 * MS // 4
    assert rtt.srtt == RTT + 10 * MS
    assert rtt.rto == rtt.srtt + 4 * rtt.rttvar


def test_t25_minimum_maximum_and_the_initial_second() -> None:
    recovery = LossRecovery(Parameters(), Reno(), Counters())
    assert recovery.rto == SECOND
    recovery.rtt.sample(1 * MS, 0)
    for _ in range(100):
        recovery.rtt.sample(1 * MS, 0)
    assert recovery.rto == 201 * MS
    recovery.backoff = 30
    assert recovery.rto == 120 * SECOND
    careful = LossRecovery(Parameters(min_rto_ns=SECOND), Reno(), Counters())
    careful.rtt.sample(1 * MS, 0)
    assert careful.rto >= SECOND


def test_t25_three_seconds_and_one_segment_after_a_lost_syn() -> None:
    cc = Reno()
    recovery = LossRecovery(Parameters(), cc, Counters())
    recovery.transmitted(0, 1, 0, False)
    assert recovery.next_timeout() == SECOND
    assert recovery.handle_timeout(SECOND) is TimeoutAction.RETRANSMIT
    recovery.transmitted(0, 1, SECOND, True)
    recovery.acknowledge(1, (), SECOND + RTT, None, False, False)
    recovery.established_now(SECOND + RTT, SMSS, True)
    assert recovery.rto == 3 * SECOND
    assert cc.cwnd == SMSS


def test_t25_timer_restarts_with_progress_and_stops_when_nothing_is_outstanding() -> None:
    sender = Sender(NO_TLP)
    sender.new(2)
    sender.now += RTT
    sender.ack(1)
    assert sender.recovery.next_timeout() == sender.now + sender.recovery.rto
    sender.ack(2)
    assert sender.recovery.next_timeout() is None


def test_t28_two_duplicate_acks_let_two_new_segments_leave_beyond_cwnd() -> None:
    sender = Sender(sack=False)
    sender.new()
    for _ in range(2):
        sender.ack(0)
        assert len(sender.new()) == 1
    assert sender.recovery.pipe == sender.cc.cwnd + 2 * SMSS
    sender.ack(0)
    assert sender.recovery.state == RECOVERY


def test_t28_can_be_switched_off() -> None:
    for sack in (True, False):
        sender = Sender(Parameters(limited_transmit=False), sack=sack)
        sender.new()
        sender.ack(0, (1, 2))
        assert sender.new() == []


def test_t28_with_sack_a_duplicate_is_an_ack_that_sacks_something_new() -> None:
    sender = Sender()
    sender.new()
    sender.ack(0, (1, 2), duplicate=False)  # even on data, even with a new window
    assert sender.new() == [20]
    sender.ack(0, (1, 2))
    assert sender.new() == []


def test_a_file_over_a_lossy_link_arrives_whole_by_every_method() -> None:
    for method in ("rack", "rfc6675", "newreno"):
        pipe = Pipe(Reno(), Parameters(recovery=method), sack=method != "newreno", loss=0.1, octets=200_000, seed=5)
        pipe.run(FAR * 1000)
        assert pipe.delivered == 200_000, method


def test_marks_have_the_states_that_the_names_say() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 4))
    assert [r.marks for r in sender.recovery.queue.ranges][:3] == [LOST, SACKED, 0]


def test_t24_rack_knows_the_order_of_what_leaves_at_one_instant() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 5))
    assert sender.again() == [0]
    sender.cc.cwnd += 4 * SMSS
    assert 20 in sender.new()  # after the retransmission, at the same time
    sender.now += RTT
    sender.ack(20)  # the retransmission has arrived first, as it left first
    assert sender.again() == []
    assert not any(r.marks & LOST for r in sender.recovery.queue.ranges)


def test_t24_a_retransmission_after_new_data_of_the_same_instant_is_not_lost_with_its_arrival() -> None:
    sender = Sender()
    sender.new(18)
    sender.now += RTT
    sender.new(1)  # 18: answers one ACK of a batch ...
    sender.ack(0, (1, 5))
    assert sender.again() == [0]  # ... and this the next, at the same reading of the clock
    sender.now += RTT
    sender.ack(0, (1, 19))
    assert sender.again() == []


def test_t22_dsack_of_an_earlier_recovery_undoes_nothing_of_this_one() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(0, (1, 4), (5, 9))
    assert sender.again()[:2] == [0, 4]
    sender.now += RTT
    sender.ack(20)
    sender.new()
    sender.now += RTT
    sender.ack(20, (21, 25))
    assert sender.again()[:1] == [20]
    threshold = sender.cc.ssthresh
    sender.ack(20, (0, 1), (21, 25))
    assert (sender.recovery.state, sender.cc.ssthresh) == (RECOVERY, threshold)
