"""The loss models do what their parameters say; seeds are fixed, so these tests cannot fail by chance."""

from __future__ import annotations

import itertools

import pytest
from scipy import stats

from testbed.net.chance import derive_seed
from testbed.net.link import Drop, LinkDirection
from topologies.link_profile import Change, DropList, EveryNth, GilbertElliott, LinkProfile, Loss, RandomLoss


def lost_numbers(loss: Loss, count: int, seed: int = 1) -> list[int]:
    direction = LinkDirection(LinkProfile(loss=loss), (), seed)
    return [n for n in range(1, count + 1) if direction.arrives(100, n) is Drop.LOSS]


def runs_of_loss(numbers: list[int]) -> list[int]:
    groups = itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    return [len(list(group)) for _, group in groups]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("probability", [0.001, 0.02, 0.5])
def test_independent_loss_has_its_probability(probability: float, seed: int) -> None:
    lost = len(lost_numbers(RandomLoss(probability), 50_000, seed))
    assert stats.binomtest(lost, 50_000, probability).pvalue > 0.001


@pytest.mark.parametrize("seed", [1, 2])
def test_independent_loss_comes_in_geometric_runs(seed: int) -> None:
    runs = runs_of_loss(lost_numbers(RandomLoss(0.3), 50_000, seed))
    observed = [sum(run == length for run in runs) for length in range(1, 6)] + [sum(run > 5 for run in runs)]
    expected = [len(runs) * 0.3 ** (length - 1) * 0.7 for length in range(1, 6)] + [len(runs) * 0.3**5]
    assert stats.chisquare(observed, expected).pvalue > 0.001


@pytest.mark.parametrize("seed", [1, 2])
def test_gilbert_elliott_bursts_last_one_over_r_and_are_geometric(seed: int) -> None:
    model = GilbertElliott(0.02, 0.4)
    numbers = lost_numbers(model, 100_000, seed)
    assert len(numbers) / 100_000 == pytest.approx(model.mean(), rel=0.08)
    runs = runs_of_loss(numbers)
    observed = [sum(run == length for run in runs) for length in range(1, 7)] + [sum(run > 6 for run in runs)]
    expected = [len(runs) * 0.6 ** (length - 1) * 0.4 for length in range(1, 7)] + [len(runs) * 0.6**6]
    assert stats.chisquare(observed, expected).pvalue > 0.001


def test_gilbert_elliott_loses_by_state() -> None:
    model = GilbertElliott(0.1, 0.1, loss_bad=0.6, loss_good=0.1)
    assert len(lost_numbers(model, 100_000)) / 100_000 == pytest.approx(0.35, abs=0.01)


def test_correlated_loss_is_rarer_than_its_probability_as_under_netem() -> None:
    lost = lost_numbers(RandomLoss(0.1, correlation=0.5), 50_000)
    assert 0 < len(lost) < 0.08 * 50_000


def test_every_nth_and_lists_count_from_one() -> None:
    assert lost_numbers(EveryNth(4), 13) == [4, 8, 12]
    assert lost_numbers(EveryNth(4, first=2), 13) == [2, 6, 10]
    assert lost_numbers(DropList((9, 3, 3)), 13) == [3, 9]


def test_packets_of_an_outage_are_counted_too() -> None:
    changes = [Change(at_ns=2, down=True), Change(at_ns=4, down=False)]
    direction = LinkDirection(LinkProfile(loss=DropList((3, 5))), changes)
    outcomes = [direction.arrives(100, now) for now in (0, 1, 2, 3, 4, 5)]
    assert [o.value if isinstance(o, Drop) else "ok" for o in outcomes] == [
        "ok",
        "ok",
        "outage",
        "outage",
        "loss",
        "ok",
    ]


def test_a_change_of_probability_keeps_the_draws() -> None:
    """Common random numbers: with more loss from some time on, the packets lost before are lost still."""
    weak = LinkDirection(LinkProfile(loss=RandomLoss(0.05)), (), 7)
    rising = LinkDirection(LinkProfile(loss=RandomLoss(0.05)), [Change(at_ns=500, loss=RandomLoss(0.2))], 7)
    lost_weak = {n for n in range(1000) if weak.arrives(100, n) is Drop.LOSS}
    lost_rising = {n for n in range(1000) if rising.arrives(100, n) is Drop.LOSS}
    assert lost_weak < lost_rising
    assert {n for n in lost_weak if n < 500} == {n for n in lost_rising if n < 500}


def test_derived_seeds_are_stable_and_distinct() -> None:
    assert derive_seed(1, "loss") == 0x36A002D045C61428  # sha256("1/loss"), so a recorded seed stays good
    labels = [("forward", "loss"), ("backward", "loss"), ("forward", "jitter")]
    assert len({derive_seed(seed, *label) for seed in range(50) for label in labels}) == 150
