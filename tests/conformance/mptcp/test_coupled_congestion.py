"""Rows M1 to M6: coupled congestion control, against numbers worked out apart and against what it is for."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import cache

import pytest

from testbed.mptcp.congestion.balia import Balia
from testbed.mptcp.congestion.catalog import CONTROLLERS, make_group
from testbed.mptcp.congestion.group import Coupled
from testbed.mptcp.congestion.lia import Lia
from testbed.mptcp.congestion.olia import Olia
from testbed.tcp.reno import Reno
from testbed.tcp.seam import CongestionController

MSS = 1000
MS = 1_000_000


def group_of(name: str, *paths: tuple[int, int]) -> list[Coupled]:
    """Subflows in congestion avoidance: (cwnd in octets, RTT in ms)."""
    group = make_group(name)
    members = []
    for cwnd, rtt in paths:
        member = group.new_controller()
        assert isinstance(member, Coupled)
        member.on_established(0, MSS, rtt * MS)
        member.cwnd = member.ssthresh = cwnd
        members.append(member)
    return members


def acked(member: CongestionController, octets: int, rtt: int) -> None:
    member.on_ack(0, octets, rtt * MS, rtt * MS, member.cwnd, True)


def test_m1_increase_is_the_smaller_of_coupled_and_alone() -> None:
    # alpha = total * max(w/r^2) / (sum w/r)^2, exactly
    paths = [(20_000, 10), (30_000, 100)]
    total = 50_000
    best = max(Fraction(w, r * r) for w, r in paths)
    rate = sum(Fraction(w, r) for w, r in paths)
    alpha = total * best / (rate * rate)
    for index in (0, 1):
        members = group_of("lia", *paths)
        before = members[index].cwnd
        acked(members[index], MSS, paths[index][1])
        want = min(alpha * MSS * MSS / total, Fraction(MSS * MSS, paths[index][0]))
        assert members[index].cwnd - before == int(want)


def test_m1_an_increase_of_nothing_is_one_octet() -> None:
    members = group_of("lia", (10_000_000, 100), (10_000_000, 100))
    acked(members[0], 10, 100)
    assert members[0].cwnd == 10_000_001


def test_m2_alone_it_is_reno() -> None:
    (member,) = group_of("lia", (20_000, 50))
    acked(member, MSS, 50)
    assert member.cwnd == 20_000 + MSS * MSS // 20_000


def test_m2_equal_paths_share_one_increase() -> None:
    # Two equal windows: alpha = 1/2 * ... = total * (w/r^2) / (2w/r)^2 = 1/2, so each gets a quarter of Reno's.
    members = group_of("lia", (20_000, 50), (20_000, 50))
    acked(members[0], 4 * MSS, 50)
    assert members[0].cwnd == 20_000 + MSS * MSS // 20_000


def test_m2_slow_start_and_decrease_are_not_coupled() -> None:
    for name in ("lia", "olia"):
        members = group_of(name, (20_000, 50), (20_000, 50))
        members[0].ssthresh = 1 << 30
        acked(members[0], MSS, 50)
        assert members[0].cwnd == 21_000
        members[1].on_congestion_event(0, 20_000)
        assert members[1].ssthresh == 10_000
        members[0].on_timeout(0, 21_000)
        assert (members[0].cwnd, members[0].ssthresh) == (MSS, 10_500)


def test_m3_during_fast_retransmit_a_sibling_counts_its_ssthresh() -> None:
    members = group_of("lia", (20_000, 50), (40_000, 50))
    members[1].on_congestion_event(0, 40_000)
    members[1].cwnd = 90_000  # what a recovery does with it is no measure
    same = group_of("lia", (20_000, 50), (20_000, 50))
    acked(members[0], 4 * MSS, 50)
    acked(same[0], 4 * MSS, 50)
    assert members[0].cwnd == same[0].cwnd
    members[1].on_recovery_exit(0)
    assert members[1].window == members[1].cwnd == 20_000


def test_m3_subflows_that_are_gone_or_still_open_do_not_count() -> None:
    group = make_group("lia")
    one, other = group.new_controller(), group.new_controller()
    group.new_controller()  # in its handshake
    assert isinstance(one, Lia)
    for member in (one, other):
        member.on_established(0, MSS, 50 * MS)
        member.cwnd = member.ssthresh = 20_000
    group.forget(other)
    acked(one, MSS, 50)
    assert one.cwnd == 20_000 + MSS * MSS // 20_000


def olia(*paths: tuple[int, int, int]) -> list[Olia]:
    """(cwnd, RTT in ms, octets between losses)."""
    members = [m for m in group_of("olia", *((w, r) for w, r, _ in paths)) if isinstance(m, Olia)]
    for member, (_, _, octets) in zip(members, paths, strict=True):
        member.acked_before_loss = octets
    return members


def test_m4_increase_without_shift() -> None:
    # Best path and largest window coincide: alpha = 0; w/r^2 / (sum)^2 in segments.
    members = olia((20_000, 50, 900_000), (10_000, 50, 100_000))
    acked(members[0], 9 * MSS, 50)
    want = Fraction(20, 50 * 50) / (Fraction(20 + 10, 50) ** 2) * 9 * MSS
    assert members[0].cwnd - 20_000 == int(want) == 200


def test_m4_shift_to_the_best_path_with_the_smaller_window() -> None:
    paths = ((20_000, 50, 100_000), (10_000, 50, 900_000))
    members = olia(*paths)
    all_members: list[Coupled] = list(members)
    assert [m.alpha(all_members) for m in members] == [-0.5, 0.5]
    acked(members[1], MSS, 50)
    base = Fraction(10, 2500) / (Fraction(30, 50) ** 2)
    assert members[1].cwnd - 10_000 == int((base + Fraction(1, 2) / 10) * MSS)
    members = olia(*paths)
    acked(members[0], MSS, 50)
    base = Fraction(20, 2500) / (Fraction(30, 50) ** 2)
    assert members[0].cwnd - 20_000 == int((base - Fraction(1, 2) / 20) * MSS)


def test_m4_quality_of_a_path_is_what_got_through_between_losses_over_rtt_squared() -> None:
    (member,) = olia((20_000, 50, 0))
    acked(member, 7000, 50)
    member.on_congestion_event(0, 20_000)
    acked(member, 3000, 50)
    assert member.between_losses == 7000
    acked(member, 6000, 50)
    assert member.between_losses == 9000


def test_m4_window_never_falls_below_a_segment() -> None:
    members = olia((1_000, 50, 100), (1_000, 50, 100_000))
    for _ in range(100):
        acked(members[0], MSS, 50)
        assert members[0].cwnd >= MSS


def test_m5_increase() -> None:
    # x1 = 20/50, x2 = 10/100 segments per ms; for path 2 a = 4.
    members = group_of("balia", (20_000, 50), (10_000, 100))
    x1, x2 = Fraction(20, 50), Fraction(10, 100)
    a = x1 / x2
    want = x2 / (100 * (x1 + x2) ** 2) * (1 + a) / 2 * (4 + a) / 5 * 10 * MSS
    acked(members[1], 10 * MSS, 100)
    assert members[1].cwnd - 10_000 == pytest.approx(int(want), abs=1)


def test_m5_decrease_is_half_times_the_ratio_at_most_three_quarters() -> None:
    members = group_of("balia", (20_000, 50), (10_000, 100))
    members[0].on_congestion_event(0, 20_000)  # a = 1
    assert members[0].ssthresh == 10_000
    members = group_of("balia", (20_000, 50), (10_000, 100))
    members[1].on_congestion_event(0, 10_000)  # a = 4 -> 1.5
    assert members[1].ssthresh == 2_500
    members = group_of("balia", (15_000, 100), (12_000, 100))
    members[1].on_congestion_event(0, 12_000)  # a = 1.25
    assert members[1].ssthresh == 12_000 - 12_000 * 5 // 8


def test_m5_alone_it_is_reno() -> None:
    (member,) = group_of("balia", (20_000, 50))
    acked(member, 20 * MSS, 50)
    assert member.cwnd == pytest.approx(21_000, abs=1)


def test_m6_what_upstream_linux_does_is_there_too_each_subflow_by_itself() -> None:
    """Upstream has no coupled control: its MPTCP runs the host's TCP controller on each subflow."""
    assert {"reno", "cubic", "lia", "olia", "balia"} <= set(CONTROLLERS)
    for name in ("reno", "cubic"):
        group = make_group(name)
        one, other = group.new_controller(), group.new_controller()
        assert isinstance(one, Reno) and not isinstance(one, Coupled)
        other.on_established(0, MSS, 50 * MS)
        one.on_established(0, MSS, 50 * MS)
        alone = make_group(name).new_controller()
        alone.on_established(0, MSS, 50 * MS)
        for controller in (one, alone):
            controller.ssthresh = controller.cwnd
            acked(controller, 10 * MSS, 50)
        assert one.cwnd == alone.cwnd
        assert group.members == []


class Bottleneck:
    """A round-based link of ``capacity`` segments per round trip (queue included), shared by windows.

    In each round everybody's window is acknowledged; beyond capacity each packet is lost with the same probability,
    and a controller with any loss has one congestion event.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity * MSS
        self.chance = random.Random(seed)

    def round(self, members: list[CongestionController], now: int) -> None:
        total = sum(m.cwnd for m in members)
        loss = max(total - self.capacity, 0) / total
        for member in members:
            packets = max(member.cwnd // MSS, 1)
            if loss and self.chance.uniform(0, 1) > (1 - loss) ** packets:
                member.on_congestion_event(now, member.cwnd)
                member.on_recovery_exit(now)
            for _ in range(packets):
                member.on_ack(now, MSS, 50 * MS, 50 * MS, member.cwnd, True)


@cache  # the uncoupled pair is the measure of each algorithm
def share_of_two_subflows(name: str, seed: int) -> float:
    """Two subflows against one plain Reno at one bottleneck: the two's share of what all get, on average."""
    link = Bottleneck(200, seed)
    pair = group_of(name, (20_000, 50), (20_000, 50)) if name != "reno" else [Reno(), Reno()]
    tcp = Reno()
    members: list[CongestionController] = [*pair, tcp]
    for member in members:
        if not isinstance(member, Coupled):
            member.on_established(0, MSS, 50 * MS)
            member.cwnd = member.ssthresh = 20_000
    taken = everybody = 0
    for number in range(4000):
        link.round(members, number * 50 * MS)
        if number >= 500:
            taken += sum(m.cwnd for m in pair)
            everybody += sum(m.cwnd for m in members)
    return taken / everybody


@pytest.mark.parametrize("name", ["lia", "olia", "balia"])
def test_m2_two_subflows_at_one_bottleneck_take_about_one_tcps_share(name: str) -> None:
    uncoupled = share_of_two_subflows("reno", 1)
    assert uncoupled > 0.6  # two TCPs of three
    share = share_of_two_subflows(name, 1)
    assert 0.35 < share < 0.58, share


@pytest.mark.parametrize("name", ["lia", "olia", "balia"])
def test_m2_the_path_that_loses_more_carries_less(name: str) -> None:
    chance = random.Random(4)
    good, bad = group_of(name, (20_000, 50), (20_000, 50))
    carried = [0, 0]
    for number in range(6000):
        for index, (member, loss) in enumerate(((good, 0.002), (bad, 0.02))):
            carried[index] += member.cwnd
            packets = member.cwnd // MSS
            if chance.uniform(0, 1) > (1 - loss) ** packets:
                member.on_congestion_event(number, member.cwnd)
                member.on_recovery_exit(number)
            for _ in range(packets):
                acked(member, MSS, 50)
    assert carried[0] > 3 * carried[1]


def test_increases_of_balia_and_lia_stay_below_reno() -> None:
    for name in ("lia", "balia"):
        for w1, w2, r1, r2 in ((10, 40, 20, 200), (40, 10, 20, 200), (30, 30, 50, 60)):
            first, _ = group_of(name, (w1 * MSS, r1), (w2 * MSS, r2))
            acked(first, w1 * MSS, r1)
            assert first.cwnd - w1 * MSS <= MSS + 1, (name, w1, w2)


def test_every_name_makes_its_controller() -> None:
    for name in CONTROLLERS:
        assert make_group(name).new_controller().name == name.removesuffix("-no-hystart")
    assert isinstance(make_group("balia").new_controller(), Balia)
