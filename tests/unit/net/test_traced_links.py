"""Links with a trace, by example: mahimahi's rules, dead phases, rounds, and several links in step."""

from __future__ import annotations

import pytest

from testbed.net.link import Drop, LinkDirection, duplex
from testbed.net.schedule import Rounds
from topologies import traces
from topologies.link_profile import Change, LinkProfile, ProfileError, QueueLimit, outage
from topologies.traces import from_bytes

MS = 10**6
S = 10**9
FULL = 1514
DEEP = QueueLimit(packets=1000)


def deliveries(text: str, **values: object) -> LinkDirection:
    profile = LinkProfile(trace=from_bytes("t", text.encode()), **{"queue": DEEP, **values})  # type: ignore[arg-type]
    return LinkDirection(profile)


def steps(text: str, at_end: traces.AtEnd = "loop", **values: object) -> LinkDirection:
    trace = from_bytes("t", text.encode(), at_end)
    return LinkDirection(LinkProfile(trace=trace, **{"queue": DEEP, **values}))  # type: ignore[arg-type]


def test_a_full_packet_takes_an_opportunity_of_its_own() -> None:
    direction = deliveries("10\n20\n30\n")
    assert [direction.arrives(FULL, 0) for _ in range(4)] == [10 * MS, 20 * MS, 30 * MS, 40 * MS]


def test_small_packets_share_an_opportunity_and_a_large_one_may_span_two() -> None:
    direction = deliveries("10\n20\n30\n")
    octets = 14 + 372  # four of them, each with four bytes of mahimahi's own, are 1504
    assert [direction.arrives(octets, 0) for _ in range(5)] == [10 * MS] * 4 + [20 * MS]
    assert direction.arrives(FULL, 0) == 30 * MS  # begins at 20 ms in what the small one left over


def test_opportunities_that_nobody_uses_are_lost() -> None:
    direction = deliveries("10\n20\n30\n")
    assert direction.arrives(FULL, 25 * MS) == 30 * MS
    assert direction.arrives(FULL, 30 * MS) == 40 * MS  # what comes at the time of one is too late for it


def test_after_the_end_it_begins_anew_even_after_hours() -> None:
    direction = deliveries("0\n4\n10\n")
    hour_ns = 3600 * S
    assert direction.arrives(FULL, hour_ns + 4 * MS) == hour_ns + 10 * MS
    assert direction.arrives(FULL, hour_ns + 5 * MS) == hour_ns + 10 * MS  # its first one, at the same instant
    assert direction.arrives(FULL, hour_ns + 6 * MS) == hour_ns + 14 * MS


def test_packets_that_wait_for_an_opportunity_count_against_the_limit() -> None:
    direction = deliveries("10\n20\n", queue=QueueLimit(packets=2))
    assert [direction.arrives(FULL, 0) for _ in range(3)] == [10 * MS, 20 * MS, Drop.OVERFLOW]
    assert direction.arrives(FULL, 10 * MS) == 30 * MS
    assert (direction.line.max_packets, direction.line.max_bytes) == (2, 2 * FULL)


def test_delay_changes_and_outages_work_beside_deliveries() -> None:
    trace = from_bytes("t", b"10\n20\n")
    changes = (Change(at_ns=15 * MS, delay_ns=7 * MS), *outage(40 * MS, 10 * MS))
    direction = LinkDirection(LinkProfile(trace=trace, queue=DEEP, delay_ns=3 * MS), changes)
    assert [direction.arrives(FULL, 0), direction.arrives(FULL, 0)] == [13 * MS, 27 * MS]
    assert direction.arrives(FULL, 45 * MS) is Drop.OUTAGE


def test_a_trace_with_a_rate_needs_a_queue_limit_like_any_rate() -> None:
    for text in (b"10\n", b"time_s,rate_mbit\n0,1\n1,2\n"):
        profile = LinkProfile(trace=from_bytes("t", text))
        with pytest.raises(ProfileError, match="queue has no limit"):
            LinkDirection(profile)
        assert LinkDirection(profile.resolved(10 * MS)).profile.queue is not None


def test_a_frame_goes_on_after_a_dead_phase_with_the_bits_that_remain() -> None:
    direction = steps("time_ms,rate_mbit\n0,8\n1,0\n51,16\n100,\n")
    assert direction.arrives(1000, 0) == 1 * MS
    assert direction.arrives(1000, 500_000) == 51 * MS + 500_000
    assert direction.arrives(1000, 100 * MS + 500_000) == 151 * MS + 250_000  # next round, half of it before the phase


def test_at_its_end_a_trace_loops_or_holds() -> None:
    text = "time_ms,delay_ms\n0,5\n10,7\n20,\n"
    looping, holding = steps(text), steps(text, "hold")
    assert [looping.arrives(100, at * MS) for at in (0, 12, 40, 52)] == [5 * MS, 19 * MS, 45 * MS, 59 * MS]
    assert [holding.arrives(100, at * MS) for at in (0, 12, 40, 52)] == [5 * MS, 19 * MS, 47 * MS, 59 * MS]


def test_rounds_show_what_is_ahead_without_moving() -> None:
    rounds = Rounds([(0, "a"), (3, "b")], 10)
    assert (rounds.value, rounds.next_ns) == ("a", 3)
    ahead = rounds.ahead()
    assert [next(ahead) for _ in range(4)] == [(3, "b"), (10, "a"), (13, "b"), (20, "a")]
    assert [rounds.advance(at) for at in (2, 3, 9, 10, 1013)] == ["a", "b", "b", "a", "b"]
    assert rounds.next_ns == 1020


@pytest.mark.parametrize("name", ["drive", "walk"])
def test_two_links_replayed_in_step_stay_in_step(name: str) -> None:
    links = {kind: steps_of(f"{name}_{kind}") for kind in ("wifi", "cellular")}
    for at_s in (5, 20, 31, 66, 3605):  # one round lasts 60 s
        for kind, direction in links.items():
            series = traces.load(f"{name}_{kind}").shape()
            assert isinstance(series, traces.Steps)
            assert series.rate_bit_s is not None
            rate = [rate for at_ns, rate in series.rate_bit_s if at_ns <= at_s % 60 * S][-1]
            direction.line.admit(FULL, at_s * S)
            assert direction.line.rate_at_cursor() == rate


def steps_of(name: str) -> LinkDirection:
    return LinkDirection(LinkProfile(trace=traces.load(name), queue=DEEP))


def test_both_directions_may_have_traces_of_their_own() -> None:
    up, down = (
        LinkProfile(trace=traces.load(name), queue=QueueLimit(packets=30_000)) for name in ("lte_up", "lte_down")
    )
    for direction in duplex(up, down):
        trace = direction.profile.trace
        assert trace is not None
        shape = trace.shape()
        assert isinstance(shape, traces.Opportunities)
        released = [direction.arrives(FULL, 0) for _ in range(2 * len(shape.times_ns))]
        assert released == [*shape.times_ns, *(20 * S + at_ns for at_ns in shape.times_ns)]
