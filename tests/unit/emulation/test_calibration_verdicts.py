"""Calibration judges numbers; here they are made by the model itself, and by models that are not the profile's."""

from __future__ import annotations

import itertools

import pytest
from scipy import stats

from testbed.emulation import probes
from testbed.emulation.binomial import binomial_interval
from testbed.emulation.calibration import Arrivals, Measurement, Tolerance, judge
from testbed.net.link import Delivery, Drop, LinkDirection
from topologies.link_profile import (
    DropList,
    EveryNth,
    GilbertElliott,
    Jitter,
    LinkProfile,
    QueueLimit,
    RandomLoss,
    Reordering,
)

MS = 10**6
LINE = LinkProfile(rate_bit_s=20 * 10**6, queue=QueueLimit(packets=34), delay_ns=10 * MS)

KEYS = [(link, direction) for link in (0, 1) for direction in (0, 1)]


def found(profile: LinkProfile, realised: LinkProfile, seed: int = 1) -> Measurement:
    """What calibration says about ``realised`` when ``profile`` was wanted, in virtual time."""
    sends, plans = probes.plan([(profile, LinkProfile())])
    direction = LinkDirection(realised, (), seed)
    arrivals = Arrivals()
    for send in sends:
        if send.direction == 0:
            outcome = direction.arrives(send.size_bytes, send.at_ns)
            if not isinstance(outcome, Drop):
                frames = [Delivery(outcome)] if isinstance(outcome, int) else outcome
                for frame in frames:
                    intact = frame.corrupt_at is None
                    if intact and send.number not in arrivals.received:
                        arrivals.received[send.number] = (send.at_ns, frame.release_ns)
                    elif send.size_bytes == probes.LARGE_BYTES:
                        arrivals.crossed.append(frame.release_ns)
                    else:
                        arrivals.duplicated += intact
                        arrivals.corrupted += not intact
    return judge("path1", "forward", profile, plans[0, 0], arrivals, Tolerance())


def with_(**values: object) -> LinkProfile:
    fields = {name: getattr(LINE, name) for name in LinkProfile.__slots__}
    return LinkProfile(**{**fields, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "profile",
    [
        LINE,
        with_(loss=RandomLoss(0.02)),
        with_(loss=GilbertElliott(0.02, 0.3)),
        with_(loss=EveryNth(9)),
        with_(loss=DropList((3, 5))),
        with_(jitter=Jitter(2 * MS, "normal")),
        with_(rate_bit_s=1_000_000, queue=QueueLimit(packets=20)),
        with_(rate_bit_s=10**9, queue=QueueLimit(packets=2000)),
        LinkProfile(delay_ns=3 * MS),
    ],
)
def test_a_true_link_is_within_tolerance(profile: LinkProfile) -> None:
    measurement = found(profile, profile)
    assert measurement.problems == ()
    assert "within tolerance" in measurement.describe()


@pytest.mark.parametrize(
    ("realised", "problem"),
    [
        (with_(rate_bit_s=19 * 10**6), "rate: 19.0"),
        (with_(delay_ns=12 * MS), "delay: median 12.0"),
        (with_(delay_ns=9 * MS), "less than 10.000 ms"),
        (with_(loss=RandomLoss(0.3)), "on a lossless link"),
        (with_(loss=RandomLoss(1.0)), "no probe arrived"),
    ],
)
def test_an_untrue_link_is_found_out_with_its_numbers(realised: LinkProfile, problem: str) -> None:
    measurement = found(LINE, realised)
    assert any(problem in text for text in measurement.problems), measurement.problems
    assert "OUT OF TOLERANCE" in measurement.describe()


HEAVY = {
    **{f"loss {p}": {"loss": RandomLoss(p)} for p in (0.01, 0.05, 0.2, 0.3, 0.5)},
    "every 3rd": {"loss": EveryNth(3)},
    "begins late": {"loss": EveryNth(10, 5000)},
    "list": {"loss": DropList(tuple(range(1, 200)))},
    "bursts": {"loss": GilbertElliott(0.05, 0.2)},
    **{f"copies {p}": {"duplication": p} for p in (0.01, 0.05, 0.2)},
    **{f"damage {p}": {"corruption": p} for p in (0.01, 0.05, 0.2)},
    "jitter": {"delay_ns": 100 * MS, "jitter": Jitter(50 * MS)},
    "normal": {"delay_ns": 100 * MS, "jitter": Jitter(50 * MS, "normal")},
    "reordering": {"delay_ns": 100 * MS, "reordering": Reordering(0.25, gap=5)},
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_true_link_with_heavy_impairments_passes_nearly_always(name: str) -> None:
    profile = with_(**HEAVY[name])
    failed = [problems for seed in range(60) if (problems := found(profile, profile, seed).problems)]
    assert len(failed) <= 2, failed


@pytest.mark.parametrize("factor", [0.95, 1.05])
@pytest.mark.parametrize("name", ["loss 0.2", "every 3rd", "copies 0.05", "damage 0.05"])
def test_a_wrong_rate_is_found_under_impairments(name: str, factor: float) -> None:
    wrong = with_(**HEAVY[name], rate_bit_s=int(20e6 * factor))
    missed = [seed for seed in range(20) if not found(with_(**HEAVY[name]), wrong, seed).problems]
    assert len(missed) <= 2


def test_loss_that_does_not_happen_is_found_out() -> None:
    assert any("loss: 0 of" in text for text in found(with_(loss=RandomLoss(0.05)), LINE).problems)
    assert any("every 9th" in text for text in found(with_(loss=EveryNth(9)), with_(loss=EveryNth(7))).problems)


@pytest.mark.parametrize(("k", "n"), [(0, 50), (1, 50), (25, 50), (50, 50), (7, 711), (1000, 1000)])
def test_the_interval_is_clopper_and_pearsons(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.999, "exact")
    assert binomial_interval(k, n, 0.999) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_a_probe_reads_back_and_damage_shows() -> None:
    data = probes.frame(probes.Send(0, 3, 1, 77, probes.SMALL_BYTES), 123456789)
    assert len(data) == probes.SMALL_BYTES
    assert probes.is_probe(data)
    assert probes.read(data) == (3, 1, 77, 123456789)
    for bit in range(8 * 34, 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        assert probes.read(bytes(damaged)) is None


def test_on_one_processor_trains_take_turns_that_share_a_machine_of_several() -> None:
    line = LinkProfile(rate_bit_s=20 * 10**6, queue=QueueLimit(packets=100))
    pairs = [(line, line), (line, line)]

    def ends_of_trains(sends: list[probes.Send]) -> list[tuple[int, int]]:
        large = [send for send in sends if send.size_bytes == probes.LARGE_BYTES]
        times = [[send.at_ns for send in large if (send.link, send.direction) == key] for key in KEYS]
        return [(min(each), max(each)) for each in times]

    together, _ = probes.plan(pairs)
    in_turn, _ = probes.plan(pairs, probes.FRAMES_PER_SECOND_OF_ONE_CPU)

    assert len({begin for begin, _ in ends_of_trains(together)}) == 1
    turns = ends_of_trains(in_turn)
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(turns))
    assert [send.number for send in sorted(in_turn, key=lambda each: (each.link, each.direction, each.number))] == [
        send.number for send in sorted(together, key=lambda each: (each.link, each.direction, each.number))
    ], "the same probes"


def test_trains_of_many_fast_links_take_turns() -> None:
    fast = LinkProfile(rate_bit_s=500 * 10**6, queue=QueueLimit(packets=500))
    sends, _ = probes.plan([(fast, fast), (fast, fast)])
    large = [send for send in sends if send.size_bytes == probes.LARGE_BYTES]
    order = [(send.link, send.direction) for send in large]
    assert order == sorted(order)
