"""What is measured of connections, against sets of octets: any order, any cuts, any widths, any batches."""

from __future__ import annotations

import itertools
from dataclasses import replace

import made_connection as made
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_batches import ACK, Made, MadeCapture

from analysis.capture.measuring import Measures
from analysis.capture.resolution import resolve

IDSN = made.idsn(made.CLIENT_KEY)


@st.composite
def transfers(draw, late: bool = False) -> tuple[list[Made], int]:
    """A client's data on up to three subflows: new, cut again, reinjected, thinly or lately mapped.

    Thin mappings stay in front of what they map unless ``late``.
    """
    shuffled = draw(st.booleans())
    subflows = draw(st.integers(1, 3))
    packets = [packet for number in range(subflows) for packet in made.handshake(number, number * made.MS)]
    now = 1000 * made.MS
    content: list[list[int | None]] = [[None] for _ in range(subflows)]  # SSN -> DSN offset
    declared: list[set[int]] = [set() for _ in range(subflows)]
    next_dsn = 1
    for _ in range(draw(st.integers(0, 25))):
        now += draw(st.integers(0, 30)) * made.MS
        subflow = draw(st.integers(0, subflows - 1))
        mine = content[subflow]
        what = draw(st.sampled_from(("new", "new", "new", "reinject", "again", "ack", "map" if late else "again")))
        wide = draw(st.sampled_from((4, 8)))
        client, server = made.end(1, subflow), made.end(2, subflow)
        plain = Made(client, server, now, flags=ACK, ack=made.ISN + 8, dsn_octets=wide)
        if what == "ack":
            packets.append(Made(server, client, now, made.ISN + 8, made.ISN + draw(st.integers(1, len(mine))), ACK))
        elif what in ("new", "reinject"):
            length = draw(st.integers(1, 40))
            first = next_dsn if what == "new" or next_dsn == 1 else draw(st.integers(1, next_dsn - 1))
            start = len(mine)
            mine.extend(range(first, first + length))
            next_dsn = max(next_dsn, first + length)
            cuts = sorted({0, length, *draw(st.lists(st.integers(0, length), max_size=2))})
            styles = ("each", "whole", "thin", "late") if late else ("each", "whole" if shuffled else "thin")
            style = draw(st.sampled_from(styles))
            for number, (low, high) in enumerate(itertools.pairwise(cuts)):
                mapping = (IDSN + first, start, length)
                if style == "each":
                    mapping = (IDSN + first + low, start + low, high - low)
                carries = style != "late" and (style != "thin" or number == 0)
                if carries:
                    declared[subflow].update(range(mapping[1], mapping[1] + mapping[2]))
                packets.append(
                    replace(plain, seq=made.ISN + start + low, payload=high - low, mapping=mapping if carries else None)
                )
        elif what == "again" and len(mine) > 1:
            low = draw(st.integers(1, len(mine) - 1))
            high = draw(st.integers(low + 1, min(len(mine), low + 60)))
            run = next((end for end in range(low + 1, high) if mine[end] != mine[low] + end - low), high)
            mapping = (IDSN + mine[low], low, run - low)
            own = shuffled and not late
            packets.append(
                replace(
                    plain, seq=made.ISN + low, payload=(run if own else high) - low, mapping=mapping if own else None
                )
            )
        elif what == "map" and len(mine) > 1:
            ssn = draw(st.integers(1, len(mine) - 1))
            length = 1
            while ssn + length < len(mine) and mine[ssn + length] == mine[ssn] + length:
                length += 1
            packets.append(replace(plain, seq=made.ISN + len(mine), mapping=(IDSN + mine[ssn], ssn, length)))
    order = draw(st.permutations(range(3 * subflows, len(packets)))) if shuffled else None
    if order:  # as another place would see them
        times = [packet.time_ns for packet in packets]
        head = packets[: 3 * subflows]
        packets = head + [replace(packets[old], time_ns=times[new]) for new, old in enumerate(order, 3 * subflows)]
    return packets, subflows


def measures_of(packets: list[Made], size: int) -> Measures:
    capture = MadeCapture(packets, size)
    measures = Measures(capture, resolve(capture))
    for batch in capture.batches():
        measures.take(batch)
    measures.finish()
    return measures


def check(measures: Measures, expected: made.Sums, subflows: int, late: bool = False) -> None:
    streams = [2 * number for number in range(subflows)]
    sending = measures.sending.sums
    pairs = {
        "retransmitted_octets": expected.retransmitted,
        "retransmitted_segments": expected.retransmitted_segments,
        "goodput_octets": expected.goodput,
        "mapped_octets": expected.mapped,
        "reinjected_octets": expected.reinjected,
    }
    if not late:
        pairs["reinjected_segments"] = expected.reinjected_segments
    for name, counter in pairs.items():
        found = sending[name][streams].tolist()
        assert found == [counter[number] for number in range(subflows)], name
    assert measures.sequence_octets[streams].tolist() == [expected.sequence[number] for number in range(subflows)]
    assert measures.unmapped[streams].tolist() == [expected.unmapped[number] for number in range(subflows)]
    order = measures.reordering
    assert order.segments[streams].tolist() == [expected.out_of_order[number] for number in range(subflows)]
    if not late:
        assert order.dsn_segments[streams].tolist() == [expected.dsn_out_of_order[n] for n in range(subflows)]
    waits = measures.head_of_line
    assert int(waits.delays.count[0]) == len(expected.waits)
    assert waits.delays.total[0] == sum(expected.waits)
    assert int(waits.waited[0]) == sum(wait > 0 for wait in expected.waits)
    assert waits.delays.greatest(0) == (max(expected.waits) if expected.waits else None)
    for number in range(subflows):
        samples = [time for subflow, time in expected.round_trips if subflow == number]
        assert int(measures.rtt.by_ack.count[2 * number]) == len(samples)
        assert measures.rtt.by_ack.total[2 * number] == sum(samples)


@settings(max_examples=120, deadline=None)
@given(transfers(), st.sampled_from((1, 2, 3, 7, 1000)))
def test_measures_are_those_of_sets_of_octets_in_any_batches(transfer, size) -> None:
    packets, subflows = transfer
    check(measures_of(packets, size), made.measured(packets, subflows), subflows)


@settings(max_examples=120, deadline=None)
@given(transfers(late=True), st.sampled_from((1, 2, 3, 7, 1000)))
def test_data_whose_mapping_comes_late_count_from_then_on(transfer, size) -> None:
    packets, subflows = transfer
    check(measures_of(packets, size), made.measured(packets, subflows), subflows, late=True)


@settings(max_examples=40, deadline=None)
@given(transfers(), st.sampled_from((1, 3, 1000)))
def test_a_connection_whose_handshakes_were_captured_is_one(transfer, size) -> None:
    packets, subflows = transfer
    resolution = resolve(MadeCapture(packets, size))
    assert [connection.subflows for connection in resolution.connections] == [list(range(subflows))]
    connection = resolution.connections[0]
    assert (connection.mptcp, connection.version, connection.inferred) == (True, 1, "")
    assert connection.keys == (made.CLIENT_KEY, made.SERVER_KEY)
    assert connection.idsn == (IDSN, made.idsn(made.SERVER_KEY))
    assert [subflow.how for subflow in resolution.subflows] == ["initial", *["join"] * (subflows - 1)]
    assert all(subflow.isn == (made.ISN, made.ISN + 7) for subflow in resolution.subflows)
    assert all(subflow.syn_rtt_ns == 20 * made.MS for subflow in resolution.subflows)


def test_sums_over_time_add_up_to_those_of_the_whole() -> None:
    packets = made.handshake(0, 0)
    for number in range(500):
        start = 1 + 10 * number
        packets.append(
            Made(
                made.end(1, 0),
                made.end(2, 0),
                (30 + number) * made.MS,
                made.ISN + start,
                made.ISN + 8,
                ACK,
                10,
                mapping=(IDSN + start, start, 10),
            )
        )
    measures = measures_of([*packets, replace(packets[-1], time_ns=packets[-1].time_ns + 5)], 64)
    sums = measures.series.sums
    assert measures.series.bin_ns == made.MS
    assert int(sums.sums["new_octets"].sum()) == 5000
    assert int(sums.sums["payload_octets"].sum()) == 5010
    assert int(sums.sums["retransmitted_octets"].sum()) == 10
    assert int(sums.sums["packets"].sum()) == 504
    assert np.array_equal(sums.keys, np.unique(sums.keys))
