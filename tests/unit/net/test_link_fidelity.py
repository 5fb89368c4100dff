"""What a link does in virtual time, against what its profile says: rate and delay exactly, chance by its distribution.

Seeds are fixed, so nothing here can fail by chance.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from scipy import stats

from analysis.reordering import (
    buffer_occupancy_density,
    n_reordering_degree,
    reorder_density,
    reordered,
    reordered_ratio,
)
from testbed.net.link import Delivery, Drop, LinkDirection
from topologies.link_profile import GilbertElliott, Jitter, LinkProfile, Loss, QueueLimit, RandomLoss, Reordering

MS = 10**6
FRAME = 1514
LEAST_P = 0.001


def lost(loss: Loss, count: int, seed: int) -> list[bool]:
    direction = LinkDirection(LinkProfile(loss=loss), (), seed)
    return [direction.arrives(FRAME, number) is Drop.LOSS for number in range(count)]


def run_lengths(values: Sequence[bool], of: bool) -> list[int]:
    """Lengths of the runs of ``of``, without the last, which the end may have cut."""
    runs = [(value, len(list(group))) for value, group in itertools.groupby(values)]
    return [length for value, length in runs[:-1] if value is of]


def geometric_p(runs: Sequence[int], leave: float, bins: int) -> float:
    """The chance that runs which end with probability ``leave`` after each packet are as uneven as these: chi-square
    over the lengths 1 .. bins and longer."""
    observed = [sum(run == length for run in runs) for length in range(1, bins + 1)]
    observed.append(len(runs) - sum(observed))
    expected = [len(runs) * (1 - leave) ** (length - 1) * leave for length in range(1, bins + 1)]
    expected.append(len(runs) * (1 - leave) ** bins)
    assert min(expected) >= 5  # what the test is valid for
    return float(stats.chisquare(observed, expected).pvalue)


def arrivals(profile: LinkProfile, count: int, gap_ns: int, seed: int = 1) -> list[int]:
    """The packets 1 .. count, sent ``gap_ns`` apart, in the order of their arrival."""
    direction = LinkDirection(profile, (), seed)
    came: list[tuple[int, int]] = []
    for number in range(1, count + 1):
        outcome = direction.arrives(FRAME, number * gap_ns)
        if isinstance(outcome, int):
            came.append((outcome, number))
        elif not isinstance(outcome, Drop):
            came.extend((delivery.release_ns, number) for delivery in outcome)
    return [number for _, number in sorted(came)]


# --- rate and delay ---


@pytest.mark.parametrize("rate", [1_000_000, 33_333_333, 10**9])
@pytest.mark.parametrize("offered", [1.05, 3.0])
def test_an_overloaded_link_carries_its_rate(rate: int, offered: float) -> None:
    direction = LinkDirection(LinkProfile(rate_bit_s=rate, queue=QueueLimit(packets=20), delay_ns=10 * MS))
    gap_ns = FRAME * 8 * 10**9 / (rate * offered)
    outcomes = [direction.arrives(FRAME, int(number * gap_ns)) for number in range(3000)]
    releases = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert len(releases) < len(outcomes)
    carried = (len(releases) - 1) * FRAME * 8 * 10**9
    assert carried / (releases[-1] - releases[0]) == pytest.approx(rate, rel=1e-6)


def test_each_packet_takes_its_time_on_the_line_and_the_delay_to_the_nanosecond() -> None:
    rate, delay_ns = 12_000_000, 7 * MS
    direction = LinkDirection(LinkProfile(rate_bit_s=rate, queue=QueueLimit(packets=20), delay_ns=delay_ns))
    for number in range(500):
        size, now_ns = 60 + number * 7 % 1454, number * 2 * MS
        assert direction.arrives(size, now_ns) == now_ns + size * 8 * 10**9 // rate + delay_ns


def test_jitter_has_its_distribution() -> None:
    profile = LinkProfile(delay_ns=50 * MS, jitter=Jitter(5 * MS, "normal", reorders=True))
    direction = LinkDirection(profile, (), 3)
    deviations = []
    for number in range(20_000):
        outcome = direction.arrives(FRAME, number * MS)
        release_ns = outcome if isinstance(outcome, int) else released(outcome)
        deviations.append((release_ns - number * MS - 50 * MS) / (5 * MS))
    assert stats.kstest(deviations, stats.norm.cdf).pvalue > LEAST_P


def released(outcome: Drop | tuple[Delivery, ...]) -> int:
    assert not isinstance(outcome, Drop)
    return outcome[0].release_ns


# --- loss ---


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("p", "r"), [(0.02, 0.4), (0.1, 0.25)])
def test_bursts_and_gaps_of_gilbert_loss_are_geometric(p: float, r: float, seed: int) -> None:
    sequence = lost(GilbertElliott(p, r), 60_000, seed)
    assert geometric_p(run_lengths(sequence, True), r, 6) > LEAST_P
    assert geometric_p(run_lengths(sequence, False), p, 20) > LEAST_P


@pytest.mark.parametrize("seed", [1, 2])
def test_runs_of_gilbert_loss_follow_each_other_independently(seed: int) -> None:
    sequence = lost(GilbertElliott(0.1, 0.3), 60_000, seed)
    pairs = Counter(itertools.pairwise(min(run, 4) for run in run_lengths(sequence, True)))
    table = [[pairs[a, b] for b in range(1, 5)] for a in range(1, 5)]
    assert stats.chi2_contingency(table).pvalue > LEAST_P


@pytest.mark.parametrize("seed", [1, 2])
def test_elliotts_states_lose_what_they_say_one_packet_after_another(seed: int) -> None:
    """Pairs of neighbours against the chain's own two-step law, packet pairs taken apart enough to be independent."""
    model = GilbertElliott(0.05, 0.2, loss_bad=0.7, loss_good=0.02)
    sequence = lost(model, 120_000, seed)
    p, r = model.p, model.r
    stays = {"good": 1 - p, "bad": 1 - r}
    loses = {"good": model.loss_good, "bad": model.loss_bad}
    share = {"good": r / (p + r), "bad": p / (p + r)}
    other = {"good": "bad", "bad": "good"}
    expected: Counter[tuple[bool, bool]] = Counter()
    for state, following in itertools.product(share, share):
        step = stays[state] if following == state else 1 - stays[other[following]]
        for first, second in itertools.product((True, False), repeat=2):
            chance = loses[state] if first else 1 - loses[state]
            chance *= loses[following] if second else 1 - loses[following]
            expected[first, second] += share[state] * step * chance
    apart = range(0, len(sequence) - 1, 40)
    pairs = Counter((sequence[index], sequence[index + 1]) for index in apart)
    outcomes = list(itertools.product((True, False), repeat=2))
    observed = [pairs[outcome] for outcome in outcomes]
    assert stats.chisquare(observed, [len(apart) * expected[outcome] for outcome in outcomes]).pvalue > LEAST_P


@pytest.mark.parametrize("seed", [1, 2])
def test_the_chi_square_test_finds_loss_that_is_not_what_the_profile_says(seed: int) -> None:
    sequence = lost(GilbertElliott(0.02, 0.4), 60_000, seed)
    assert geometric_p(run_lengths(sequence, True), 0.45, 6) < LEAST_P
    assert geometric_p(run_lengths(lost(RandomLoss(0.05), 60_000, seed), True), 0.4, 4) < LEAST_P


# --- reordering ---


@pytest.mark.parametrize("late", [1, 3, 8])
def test_a_packet_that_skips_the_delay_overtakes_as_many_as_the_delay_holds(late: int) -> None:
    """RFC 4737: every 20th packet comes ``late`` places early, so as many before it are reordered, by 1 .. late."""
    count, gap_ns = 2000, MS
    profile = LinkProfile(delay_ns=late * gap_ns + gap_ns // 2, reordering=Reordering(1.0, gap=20))
    came = arrivals(profile, count, gap_ns)
    overtaking = count // 20
    found = reordered(came)
    assert sorted(came) == list(range(1, count + 1))
    assert reordered_ratio(came) == overtaking * late / count
    assert Counter(packet.extent for packet in found) == dict.fromkeys(range(1, late + 1), overtaking)
    assert n_reordering_degree(came, 1) == overtaking / count  # only the packet right behind it
    assert n_reordering_degree(came, 2) == 0.0


@pytest.mark.parametrize("late", [1, 3, 8])
def test_densities_show_early_packets_and_the_buffer_they_need(late: int) -> None:
    """RFC 5236: one packet in 20 is early by ``late`` places, ``late`` packets are late by one, and one is kept."""
    profile = LinkProfile(delay_ns=late * MS + MS // 2, reordering=Reordering(1.0, gap=20))
    came = arrivals(profile, 2000, MS)
    assert reorder_density(came, 16) == pytest.approx({-late: 0.05, 0: 0.95 - late / 20, 1: late / 20})
    assert buffer_occupancy_density(came, 16) == pytest.approx({0: 1 - late / 20, 1: late / 20})


@pytest.mark.parametrize("seed", [1, 2])
def test_packets_are_reordered_with_their_probability(seed: int) -> None:
    profile = LinkProfile(delay_ns=3 * MS // 2, reordering=Reordering(0.1))
    came = arrivals(profile, 20_000, MS, seed)
    # a packet is overtaken when it did not skip the delay and the one after it did
    overtaken = len(reordered(came))
    assert stats.binomtest(overtaken, 20_000, 0.1 * 0.9).pvalue > LEAST_P
    assert reorder_density(came, 4)[-1] > 0.08


def test_without_reordering_loss_and_queues_keep_the_order() -> None:
    profile = LinkProfile(
        rate_bit_s=10 * 10**6,
        queue=QueueLimit(packets=20),
        delay_ns=10 * MS,
        jitter=Jitter(3 * MS, "pareto"),
        loss=GilbertElliott(0.05, 0.3),
        duplication=0.05,
    )
    came = arrivals(profile, 5000, MS)
    assert len(set(came)) < 5000
    assert reordered(came) == []
    assert reorder_density(came, 100)[0] == 1.0
