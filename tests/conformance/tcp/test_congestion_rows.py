"""T26, T27, T29 and T32's part of the sender: Reno, initial window, CUBIC, ECN, PRR, F-RTO; and the rates of theory."""

from __future__ import annotations

import math

import pytest
from recovery_pipe import SMSS, Pipe, goodput_bits
from test_retransmission_rows import NO_TLP, RTT, Sender

from testbed.tcp import cubic
from testbed.tcp.congestion_catalog import CONTROLLERS, make
from testbed.tcp.cubic import BETA, C, Cubic
from testbed.tcp.hystart import HyStart
from testbed.tcp.parameters import MS, SECOND, Parameters
from testbed.tcp.prr import ProportionalRateReduction
from testbed.tcp.recovery_states import LOSS, OPEN, RECOVERY
from testbed.tcp.reno import Reno, initial_window


def acked(cc: Reno, octets: int, *, now: int = 0, limited: bool = True) -> None:
    cc.on_ack(now, octets, RTT, RTT, cc.cwnd, limited)


def test_t26_slow_start_grows_by_what_is_acknowledged_avoidance_by_one_segment_a_window() -> None:
    cc = Reno()
    cc.on_established(0, SMSS, RTT)
    acked(cc, 2 * SMSS)
    assert cc.cwnd == 12 * SMSS
    cc.ssthresh = cc.cwnd
    for _ in range(11):
        acked(cc, SMSS)
    assert cc.cwnd == 12 * SMSS
    acked(cc, SMSS)
    assert cc.cwnd == 13 * SMSS


def test_t26_slow_start_stops_at_ssthresh_and_the_rest_counts_for_avoidance() -> None:
    cc = Reno()
    cc.on_established(0, SMSS, RTT)
    cc.ssthresh = 11 * SMSS
    acked(cc, 10 * SMSS)
    assert cc.cwnd == 11 * SMSS
    acked(cc, 2 * SMSS)
    assert cc.cwnd == 12 * SMSS


def test_t26_window_that_is_not_used_does_not_grow() -> None:
    for name in CONTROLLERS:
        cc = make(name)
        cc.on_established(0, SMSS, RTT)
        before = cc.cwnd
        cc.on_ack(0, SMSS, RTT, RTT, SMSS, False)
        assert cc.cwnd == before, name


def test_t26_fast_retransmit_at_the_third_duplicate_and_newreno_inflates_and_deflates() -> None:
    sender = Sender(sack=False)
    sender.new()
    for _ in range(2):
        sender.ack(0)
    assert sender.recovery.state != RECOVERY
    sender.ack(0)
    assert sender.again() == [0]
    assert sender.cc.ssthresh == 10 * SMSS
    assert sender.cc.cwnd == 13 * SMSS  # ssthresh + 3 SMSS
    sender.ack(0)
    assert sender.cc.cwnd == 14 * SMSS
    sender.ack(5)  # partial: deflate by five, add one back, send the next hole at once
    assert sender.cc.cwnd == 10 * SMSS
    assert sender.again() == [5]
    sender.ack(20)
    assert sender.recovery.state == OPEN
    assert sender.cc.cwnd <= sender.cc.ssthresh


def test_t26_restart_after_idle_is_from_the_initial_window() -> None:
    sender = Sender()
    sender.cc.cwnd = 40 * SMSS
    sender.cc.initial = None
    sender.new(1)
    sender.now += RTT
    sender.ack(1)
    sender.now += 10 * SECOND
    assert sender.recovery.send_allowance(sender.now) == initial_window(SMSS)
    assert sender.cc.ssthresh >= 30 * SMSS


def test_t26_acks_with_new_window_or_data_are_no_duplicates() -> None:
    sender = Sender(sack=False)
    sender.new()
    for _ in range(5):
        sender.ack(0, duplicate=False)
    assert sender.recovery.state == OPEN


@pytest.mark.parametrize(("mss", "window"), [(1460, 14600), (1448, 14480), (9000, 18000), (536, 5360), (5000, 14600)])
def test_t27_initial_window(mss: int, window: int) -> None:
    assert initial_window(mss) == window


def test_t29_decrease_by_beta_and_the_plateau_at_w_max() -> None:
    assert (C, BETA) == (0.4, 0.7)
    cc = Cubic()
    cc.on_established(0, SMSS, RTT)
    cc.cwnd = 1000 * SMSS
    cc.on_congestion_event(0, cc.cwnd)
    cc.on_recovery_exit(0)
    assert cc.cwnd == 700 * SMSS
    k = (1000 * (1 - BETA) / C) ** (1 / 3)
    now, step = SECOND, RTT
    start = now
    while now - start < int(k * SECOND):
        acked(cc, cc.cwnd, now=now)
        now += step
    assert cc.k == pytest.approx(k)
    assert cc.cwnd / SMSS == pytest.approx(1000, rel=0.02)
    acked(cc, cc.cwnd, now=start + int((k + 3) * SECOND))  # three seconds beyond: C * 27 more, at most half per RTT
    assert cc.cwnd / SMSS == pytest.approx(1000 + C * 3.1**3, rel=0.02)


def test_t29_reno_friendly_where_the_window_is_small() -> None:
    cc = Cubic()
    cc.on_established(0, SMSS, RTT)
    cc.cwnd = 10 * SMSS
    cc.on_congestion_event(0, cc.cwnd)
    cc.on_recovery_exit(0)
    short = MS
    start = cc.cwnd / SMSS
    now = SECOND
    for _ in range(5):  # in 5 ms the cubic function has not moved
        acked(cc, cc.cwnd, now=now)
        now += short
    assert cc.cwnd / SMSS == pytest.approx(start + 5 * cubic.ALPHA, rel=0.02)
    while cc.cwnd < 10 * SMSS:
        acked(cc, cc.cwnd, now=now)
    before = cc.cwnd
    acked(cc, cc.cwnd, now=now)  # beyond the window before the reduction alpha is Reno's 1
    assert (cc.cwnd - before) / SMSS == pytest.approx(1, rel=0.05)


def test_t29_fast_convergence_releases_bandwidth() -> None:
    cc = Cubic()
    cc.on_established(0, SMSS, RTT)
    cc.cwnd = 100 * SMSS
    cc.on_congestion_event(0, cc.cwnd)
    cc.on_recovery_exit(0)
    assert cc.w_max == 100
    cc.on_congestion_event(0, cc.cwnd)  # at 70 < W_max
    assert cc.w_max == pytest.approx(70 * (1 + BETA) / 2)


def test_t29_spurious_reduction_restores_the_function() -> None:
    cc = Cubic()
    cc.on_established(0, SMSS, RTT)
    cc.cwnd = 100 * SMSS
    before = (cc.w_max, cc.k, cc.epoch_at)
    cc.on_timeout(0, cc.cwnd)
    assert cc.cwnd == SMSS
    cc.on_spurious(0)
    assert (cc.w_max, cc.k, cc.epoch_at) == before
    assert cc.cwnd == 100 * SMSS


def test_t29_hystart_leaves_slow_start_when_the_round_trip_grows() -> None:
    cc = make("cubic")
    assert isinstance(cc, Cubic)
    cc.on_established(0, SMSS, RTT)
    now = 0
    for _ in range(20):
        flight = cc.cwnd
        rtt = max(RTT, flight // SMSS * MS)  # a link of one segment per ms
        for _ in range(max(flight // SMSS, 1)):
            cc.on_ack(now, SMSS, rtt, rtt, flight, True)
            now += MS
        if cc.cwnd >= cc.ssthresh:
            break
    assert 100 * SMSS <= cc.ssthresh < 600 * SMSS
    assert make("cubic-no-hystart").hystart is None  # type: ignore[attr-defined]
    plain = HyStart()
    plain.restart()
    assert plain.on_ack(SMSS, 5 * RTT, SMSS, SMSS) == SMSS  # not after a timeout


def test_t32_ece_lowers_the_window_once_a_round_trip_and_asks_for_cwr() -> None:
    sender = Sender()
    sender.new()
    sender.now += RTT
    sender.ack(1, ece=True)
    assert sender.cc.cwnd == 10 * SMSS
    assert sender.recovery.cwr_pending
    sender.ack(2, ece=True)
    assert sender.cc.cwnd == 10 * SMSS
    sender.ack(20)
    sender.new()
    flight = sender.recovery.pipe
    sender.ack(21, ece=True)
    assert sender.cc.cwnd == flight // 2


def test_t32_prr_sends_in_proportion_and_reaches_ssthresh() -> None:
    prr = ProportionalRateReduction()
    prr.begin(100)
    pipe = 99
    sent = 0
    for _ in range(98):
        pipe -= 1
        window = prr.window(1, pipe, 50, 1)
        while pipe < window:
            pipe += 1
            sent += 1
            prr.out += 1
    assert sent == pytest.approx(49, abs=1)
    assert pipe == 50


def test_t32_prr_slow_starts_back_after_heavy_loss() -> None:
    prr = ProportionalRateReduction()
    prr.begin(100 * SMSS)
    assert prr.window(SMSS, 10 * SMSS, 50 * SMSS, SMSS) == 12 * SMSS


def test_t32_frto_takes_back_a_spurious_timeout() -> None:
    sender = Sender(NO_TLP)
    sender.new()
    cwnd = sender.cc.cwnd
    sender.timer()
    assert sender.again() == [0]
    sender.ack(1)  # the original, late
    assert sender.again() == []
    assert sender.new() == [20, 21]
    sender.ack(2)
    assert sender.recovery.state == OPEN
    assert sender.cc.cwnd >= cwnd
    assert sender.counters["TcpExtTCPSpuriousRTOs"] == 1


def test_t32_frto_goes_on_as_ever_when_the_loss_was_real() -> None:
    sender = Sender(NO_TLP)
    sender.new()
    sender.timer()
    sender.again()
    sender.ack(1)
    sender.new()
    sender.ack(1)  # a duplicate: 1 is missing as well
    assert sender.recovery.state == LOSS
    assert sender.again()[0] == 1


def test_t32_frto_without_new_data_retransmits() -> None:
    sender = Sender(NO_TLP)
    sender.new()
    sender.timer()
    sender.again()
    sender.ack(1)
    assert sender.recovery.segment_without_new_data(sender.now, SMSS) is not None


@pytest.mark.parametrize("recovery", ["rack", "rfc6675", "newreno"])
def test_reno_has_the_rate_of_theory_under_random_loss(recovery: str) -> None:
    loss = 0.01
    pipe = Pipe(
        Reno(), Parameters(recovery=recovery), sack=recovery != "newreno", rate_bits=10**9, delay_ns=25 * MS, loss=loss
    )
    pipe.run(120 * SECOND)
    window = goodput_bits(pipe) / 8 * 0.05 / SMSS
    assert window == pytest.approx(math.sqrt(1.5 / loss), rel=0.25)  # Mathis et al. 1997, an ACK for each segment


def test_cubic_is_no_slower_than_reno_under_random_loss_and_faster_where_it_is_rare() -> None:
    def window(cc: Reno, loss: float) -> float:
        pipe = Pipe(cc, rate_bits=10**9, delay_ns=50 * MS, loss=loss)
        pipe.run(60 * SECOND)
        return goodput_bits(pipe) / 8 * 0.1 / SMSS

    assert window(Cubic(), 0.02) > 0.9 * window(Reno(), 0.02)
    assert window(Cubic(), 0.001) > 1.2 * window(Reno(), 0.001)


def test_t29_with_hystart_the_first_overshoot_stays_small() -> None:
    lost = {}
    for hystart in (False, True):
        pipe = Pipe(Cubic(hystart=hystart), rate_bits=20_000_000, delay_ns=10 * MS, queue_packets=100, octets=1_500_000)
        pipe.run(20 * SECOND)
        lost[hystart] = pipe.counters["TcpRetransSegs"]
    assert lost[True] < lost[False] / 2


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_a_bottleneck_with_a_queue_is_filled(name: str) -> None:
    cc = make(name)
    assert isinstance(cc, Reno)
    pipe = Pipe(cc, rate_bits=10_000_000, delay_ns=25 * MS, queue_packets=50)
    pipe.run(15 * SECOND)
    assert goodput_bits(pipe) > 0.9 * 10_000_000 * SMSS / (SMSS + 66)
