from __future__ import annotations

import pytest

from testbed.orchestrator.path_expectation import FALSE_ALARM, MOST_TRIES, PathExpectation, expect
from topologies.link_profile import DropList, EveryNth, GilbertElliott, LinkProfile, Loss, RandomLoss
from topologies.two_path import two_path


def of(profile: LinkProfile) -> PathExpectation:
    topology = two_path(profile, LinkProfile())
    return expect(topology, topology.path("path1"), 1500)


def test_the_round_trip_has_both_delays_and_both_serialisations() -> None:
    expected = of(LinkProfile(rate_bit_s=1_200_000, delay_ns=30_000_000))
    assert expected.round_trip_s == pytest.approx(2 * (0.030 + 0.010))
    assert expected.retry_s > expected.round_trip_s


def test_a_quick_path_still_gets_a_second() -> None:
    assert of(LinkProfile()).deadline_s >= 1.0


@pytest.mark.parametrize(
    ("loss", "passes"),
    [(RandomLoss(0.05), 0.95), (RandomLoss(0.5), 0.5), (EveryNth(2), 0.5), (GilbertElliott(0.5, 0.5), 0.5)],
)
def test_a_path_that_loses_on_purpose_gets_so_many_tries_that_silence_is_no_chance(loss: Loss, passes: float) -> None:
    assert (1 - passes**2) ** of(LinkProfile(loss=loss)).tries <= FALSE_ALARM * 1.01


def test_the_number_of_tries_is_bounded() -> None:
    assert of(LinkProfile(loss=RandomLoss(0.99))).tries == MOST_TRIES


def test_a_path_that_loses_everything_is_not_asked() -> None:
    assert of(LinkProfile(loss=RandomLoss(1.0))).tries == 0


def test_lists_of_lost_packets_are_waited_out() -> None:
    lossy = LinkProfile(loss=DropList((1, 2, 3)), corruption=0.01)
    assert of(lossy).tries >= 6
