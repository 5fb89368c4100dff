"""What holds for every profile, every arrival pattern and every seed of the link model."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.net.link import Delivery, Drop, LinkDirection, Outcome
from topologies.link_profile import (
    Change,
    GilbertElliott,
    Jitter,
    LinkProfile,
    Loss,
    NoLoss,
    QueueLimit,
    RandomLoss,
    Reordering,
)

MS = 10**6
examples = settings(deadline=None, max_examples=60)
"""No test here may fail because the machine is busy."""

probabilities = st.floats(0.0, 1.0)
losses: st.SearchStrategy[Loss] = st.one_of(
    st.just(NoLoss()),
    st.builds(RandomLoss, probabilities, st.floats(0, 0.9)),
    st.builds(GilbertElliott, st.floats(0.001, 1), st.floats(0.001, 1), probabilities, probabilities),
)
queues = st.one_of(
    st.builds(QueueLimit, packets=st.integers(1, 50)), st.builds(QueueLimit, size_bytes=st.integers(1514, 40_000))
)
rates = st.one_of(st.none(), st.integers(100_000, 2 * 10**9))
profiles = st.builds(
    LinkProfile,
    rate_bit_s=rates,
    queue=queues,
    delay_ns=st.integers(1, 100 * MS),
    jitter=st.one_of(
        st.none(),
        st.builds(
            Jitter,
            st.integers(0, 20 * MS),
            st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
            st.floats(0, 0.9),
            st.booleans(),
        ),
    ),
    loss=losses,
    reordering=st.one_of(st.none(), st.builds(Reordering, probabilities, st.integers(1, 5))),
    duplication=probabilities,
    corruption=probabilities,
)
changes = st.lists(
    st.builds(
        Change,
        at_ns=st.integers(0, 200 * MS),
        down=st.one_of(st.none(), st.booleans()),
        rate_bit_s=rates,
        delay_ns=st.one_of(st.none(), st.integers(1, 100 * MS)),
        loss=st.one_of(st.none(), losses),
    ),
    max_size=4,
).map(lambda items: sorted(items, key=lambda change: change.at_ns))
arrivals = st.lists(st.tuples(st.integers(60, 1514), st.integers(0, 5 * MS)), min_size=1, max_size=120).map(
    lambda gaps: [(size, sum(gap for _, gap in gaps[: i + 1])) for i, (size, _) in enumerate(gaps)]
)
seeds = st.integers(0, 2**64 - 1)


def feed(direction: LinkDirection, packets: Sequence[tuple[int, int]]) -> list[Outcome]:
    return [direction.arrives(size, now) for size, now in packets]


def releases(outcome: Outcome) -> list[int]:
    if isinstance(outcome, Drop):
        return []
    return [outcome] if isinstance(outcome, int) else [delivery.release_ns for delivery in outcome]


@examples
@given(profiles, changes, seeds, arrivals)
def test_same_seed_same_outcomes(
    profile: LinkProfile, steps: list[Change], seed: int, packets: list[tuple[int, int]]
) -> None:
    first = feed(LinkDirection(profile, steps, seed), packets)
    assert first == feed(LinkDirection(profile, steps, seed), packets)


@examples
@given(profiles, changes, seeds, arrivals)
def test_packets_are_conserved(
    profile: LinkProfile, steps: list[Change], seed: int, packets: list[tuple[int, int]]
) -> None:
    direction = LinkDirection(profile, steps, seed)
    outcomes = feed(direction, packets)
    counters = direction.counters
    assert counters.arrived_packets == len(packets)
    assert counters.arrived_packets + counters.duplicated == counters.delivered_packets + counters.dropped()
    assert counters.delivered_packets == sum(len(releases(outcome)) for outcome in outcomes)


@examples
@given(profiles, seeds, arrivals)
def test_nothing_arrives_before_it_could(profile: LinkProfile, seed: int, packets: list[tuple[int, int]]) -> None:
    rate = profile.rate_bit_s
    for (size, now), outcome in zip(packets, feed(LinkDirection(profile, (), seed), packets), strict=True):
        line_ns = size * 8 * 10**9 // rate if rate else 0
        for release_ns in releases(outcome):
            reordered = isinstance(outcome, tuple) and outcome[0].reordered
            least_ns = 0 if profile.jitter or reordered else profile.delay_ns
            assert release_ns >= now + line_ns + least_ns


@examples
@given(profiles, changes, seeds, arrivals)
def test_order_is_kept_unless_reordering_is_asked_for(
    profile: LinkProfile, steps: list[Change], seed: int, packets: list[tuple[int, int]]
) -> None:
    if profile.jitter and profile.jitter.reorders:
        return
    in_order = [
        release_ns
        for outcome in feed(LinkDirection(profile, steps, seed), packets)
        if not (isinstance(outcome, tuple) and outcome[0].reordered)
        for release_ns in releases(outcome)
    ]
    assert in_order == sorted(in_order)


@examples
@given(profiles, changes, seeds, arrivals)
def test_the_queue_never_holds_more_than_its_limit(
    profile: LinkProfile, steps: list[Change], seed: int, packets: list[tuple[int, int]]
) -> None:
    direction = LinkDirection(profile, steps, seed)
    feed(direction, packets)
    assert profile.queue is not None
    if profile.queue.packets is not None:
        assert direction.line.max_packets <= profile.queue.packets
    if profile.queue.size_bytes is not None:
        assert direction.line.max_bytes <= profile.queue.size_bytes


@examples
@given(st.integers(1000, 10**10), st.lists(st.integers(60, 1514), min_size=1, max_size=200))
def test_a_busy_line_is_exact_to_the_nanosecond(rate: int, sizes: list[int]) -> None:
    direction = LinkDirection(LinkProfile(rate_bit_s=rate, queue=QueueLimit(packets=10**6)))
    last_ns = [direction.arrives(size, 0) for size in sizes][-1]
    assert last_ns == sum(sizes) * 8 * 10**9 // rate


@examples
@given(rates.filter(bool), changes, st.lists(st.integers(60, 1514), min_size=1, max_size=100))
def test_across_rate_changes_a_busy_line_sends_every_bit_once(rate: int, steps: list[Change], sizes: list[int]) -> None:
    steps = [Change(at_ns=step.at_ns, rate_bit_s=step.rate_bit_s) for step in steps]
    profile = LinkProfile(rate_bit_s=rate, queue=QueueLimit(packets=10**6))
    direction = LinkDirection(profile, steps)
    end_ns = 0
    for size in sizes:
        outcome = direction.arrives(size, 0)
        assert isinstance(outcome, int)
        end_ns = outcome
    edges = [(0, rate), *((step.at_ns, step.rate_bit_s) for step in steps if step.rate_bit_s)]
    until = [at for at, _ in edges[1:]] + [end_ns]
    capacity = sum(
        current * (min(end_ns, stop) - start)
        for (start, current), stop in zip(edges, until, strict=True)
        if start < end_ns
    )
    work = sum(sizes) * 8 * 10**9
    assert abs(work - capacity) <= 2 * max(value for _, value in edges) * len(edges)


@examples
@given(profiles, seeds, arrivals, st.sampled_from(["jitter", "reordering", "duplication", "corruption", "rate_bit_s"]))
def test_switching_an_impairment_off_does_not_change_which_packets_loss_takes(
    profile: LinkProfile, seed: int, packets: list[tuple[int, int]], name: str
) -> None:
    values = {field: getattr(profile, field) for field in LinkProfile.__slots__}
    off = LinkProfile(**{**values, name: 0.0 if name in ("duplication", "corruption") else None})
    lost = [outcome is Drop.LOSS for outcome in feed(LinkDirection(profile, (), seed), packets)]
    assert lost == [outcome is Drop.LOSS for outcome in feed(LinkDirection(off, (), seed), packets)]


@examples
@given(losses, seeds, arrivals, arrivals)
def test_which_packets_are_lost_does_not_depend_on_their_times(
    loss: Loss, seed: int, some: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    profile = LinkProfile(loss=loss)
    count = min(len(some), len(others))
    first = feed(LinkDirection(profile, (), seed), some[:count])
    second = feed(LinkDirection(profile, (), seed), others[:count])
    assert [o is Drop.LOSS for o in first] == [o is Drop.LOSS for o in second]


@examples
@given(st.floats(0.01, 1.0), seeds)
def test_a_corrupted_packet_has_a_place_for_its_bit(corruption: float, seed: int) -> None:
    direction = LinkDirection(LinkProfile(corruption=corruption), (), seed)
    outcomes = feed(direction, [(100, n) for n in range(200)])
    places = [o[0].corrupt_at for o in outcomes if isinstance(o, tuple) and isinstance(o[0], Delivery)]
    assert len(places) == direction.counters.corrupted > 0 or corruption < 0.1
    assert all(place is not None and 0.0 <= place < 1.0 for place in places)
