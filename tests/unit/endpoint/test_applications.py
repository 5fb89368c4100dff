from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.endpoint.applications.iperf3 import read_iperf3
from testbed.endpoint.applications.program import replaced
from testbed.endpoint.applications.sources import PatternSource
from testbed.endpoint.applications.stream import HEADER, BlockReader, BlockSource
from testbed.endpoint.meter import Sent
from testbed.endpoint.payload import pattern

FILLER = random.Random(3).randbytes(100)


def drain(source: BlockSource, chance: random.Random) -> bytearray:
    """What a socket takes that accepts any number of bytes at a time, until the source has nothing."""
    taken = bytearray()
    while data := source.upcoming():
        count = chance.randint(1, len(data))
        taken += data[:count]
        source.sent(count)
    return taken


@given(st.integers(0, 50), st.randoms(use_true_random=False))
def test_blocks_arrive_with_number_and_due_time_however_they_are_cut(ticks: int, chance: random.Random) -> None:
    now_ns = 1000
    source = BlockSource(FILLER, 10, lambda: now_ns, Sent(known=True))
    data = bytearray()
    for _ in range(ticks):
        now_ns += chance.randint(0, 30)
        data += drain(source, chance)
    complete: list[tuple[int, int]] = []
    reader = BlockReader(FILLER, lambda number, due_ns: complete.append((number, due_ns)))
    while data:
        count = chance.randint(1, 250)
        reader.add(memoryview(bytes(data[:count])))
        del data[:count]
    due = [1000 + 10 * number for number in range(source.blocks)]
    assert complete == list(enumerate(due))
    assert reader.first_mismatch is None
    assert all(time_ns <= now_ns for time_ns in due)


def test_a_stream_that_ends_finishes_the_block_under_way() -> None:
    source = BlockSource(FILLER, 10, lambda: 0, Sent(known=True))
    data = source.upcoming()
    assert data is not None
    source.sent(40)
    source.ending = True
    rest = source.upcoming()
    assert rest is not None
    assert len(rest) == len(FILLER) - 40
    source.sent(len(rest))
    assert source.upcoming() is None


@given(st.integers(0, 4), st.integers(0, len(FILLER) - 1))
def test_a_wrong_block_is_found_and_nothing_after_it_counts(block: int, position: int) -> None:
    data = bytearray()
    for number in range(5):
        data += HEADER.pack(number, number) + FILLER[HEADER.size :]
    wrong = block * len(FILLER) + position
    data[wrong] ^= 1
    complete: list[int] = []
    reader = BlockReader(FILLER, lambda number, _: complete.append(number))
    reader.add(memoryview(bytes(data)))
    if 8 <= position < HEADER.size:  # a due time has no redundancy; the transport's checksum guards it
        assert len(complete) == 5
    else:
        assert reader.first_mismatch == block * len(FILLER)
        assert complete == list(range(block))


@given(st.integers(0, 300_000), st.randoms(use_true_random=False))
def test_a_source_of_a_fixed_size_gives_exactly_that(size: int, chance: random.Random) -> None:
    meter = Sent(known=True)
    source = PatternSource(pattern(1, "upload"), meter, 5000, size, ending=True)
    while data := source.upcoming():
        source.sent(chance.randint(1, len(data)))
    assert source.upcoming() is None
    assert source.exhausted
    assert meter.count == size


def test_a_source_waits_until_its_total_grows_and_can_end_early() -> None:
    source = PatternSource(pattern(1, "upload"), Sent(known=True), 5000, 0, ending=False)
    assert source.upcoming() == b""
    source.total = 10
    source.sent(4)
    source.end_here()
    assert source.upcoming() is None


@pytest.mark.parametrize(
    ("word", "result"), [("{port}", "5001"), ("-p{port}", "-p5001"), ("{other}", "{other}"), ("{}", "{}"), ("x", "x")]
)
def test_placeholders_are_replaced_and_other_braces_stay(word: str, result: str) -> None:
    assert replaced(word, {"port": "5001"}) == result


def report(**end: object) -> dict[str, Any]:
    found = read_iperf3(json.dumps({"start": {"version": "iperf 3.12"}, "end": end}))
    assert found is not None
    return found


@pytest.mark.parametrize("sender", [True, False])
def test_a_report_of_iperf3_gives_the_figures_of_the_side_that_wrote_it(sender: bool) -> None:
    sent = {"bytes": 10, "retransmits": 3, "sender": sender}
    received = {"bytes": 9, "seconds": 1.5, "bits_per_second": 48.0, "sender": sender}
    found = report(sum_sent=sent, sum_received=received, sender_tcp_congestion="reno")
    assert (found["sent_bytes"], found["received_bytes"]) == ((10, 0) if sender else (0, 9))
    assert found["goodput_bit_s"] == (None if sender else 48.0)
    assert found["receive_time_ns"] == (None if sender else 1_500_000_000)
    assert (found["retransmits"], found["sender_congestion_control"], found["error"]) == (3, "reno", None)


def test_a_report_of_iperf3_in_both_directions_gives_what_this_side_sent_and_received() -> None:
    found = report(
        sum_sent={"bytes": 10, "sender": True},
        sum_received={"bytes": 9, "bits_per_second": 1.0, "sender": True},
        sum_sent_bidir_reverse={"bytes": 20, "sender": False},
        sum_received_bidir_reverse={"bytes": 19, "bits_per_second": 2.0, "sender": False},
    )
    assert (found["sent_bytes"], found["received_bytes"], found["goodput_bit_s"]) == (10, 19, 2.0)


def test_a_report_of_iperf3_that_does_not_say_who_sent_gives_no_bytes() -> None:
    found = report(sum_sent={"bytes": 10}, sum_received={"bytes": 9, "bits_per_second": 1.0})
    assert (found["sent_bytes"], found["received_bytes"], found["goodput_bit_s"]) == (None, None, None)


@pytest.mark.parametrize("text", ["", "hello", "[]", "{}", '{"start": {}}'])
def test_other_output_is_no_report(text: str) -> None:
    assert read_iperf3(text) is None


def test_a_report_with_an_error_says_so() -> None:
    found = read_iperf3('{"start": {}, "end": {}, "error": "unable to connect"}')
    assert found is not None
    assert (found["error"], found["goodput_bit_s"], found["received_bytes"]) == ("unable to connect", None, None)
