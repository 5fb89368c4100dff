"""Many chains in lock-step find the records that the plain loop finds, whatever the packets contain."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
from capture_files import Order, Packet, PcapngWriter, in_memory, packets_of, pcap, pcap_header, pcap_record, read
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.capture import chains
from analysis.capture.chains import Bytes, Places, RecordWalk
from analysis.capture.files import open_file

ORDERS = st.sampled_from(("<", ">"))
SECOND = 10**9
START = 1_790_000_000 * SECOND


@contextmanager
def chains_for_few_records() -> Iterator[None]:
    """Chains where the plain loop would do, so that small captures show what they do."""
    with mock.patch.multiple(chains, FEW_RECORDS=8, _SAMPLE=4, _RECORDS_IN_CHAIN=4, _STEPS_AT_ONCE=2):
        yield


@contextmanager
def no_chains() -> Iterator[None]:
    with mock.patch.object(chains, "FEW_RECORDS", 1 << 60):
        yield


def pcap_walk(order: Order = "<", longest: int = 1000) -> RecordWalk:
    return RecordWalk(order, header=16, field=8, added=16, multiple=1, shortest=16, longest=longest)


def block_walk(order: Order = "<", longest: int = 1000) -> RecordWalk:
    return RecordWalk(order, header=12, field=4, added=0, multiple=4, shortest=12, longest=longest)


@settings(max_examples=400, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=10, max_size=120),
    words=st.booleans(),
    order=ORDERS,
    seed=st.integers(0, 2**32),
    lies=st.floats(0, 1),
    lead=st.integers(0, 40),
    cut=st.integers(0, 100),
)
def test_wherever_chains_are_begun_the_records_are_those_of_the_plain_loop(
    lengths: list[int], words: bool, order: Order, seed: int, lies: float, lead: int, cut: int
) -> None:
    """Content are small numbers, which are lengths that can be, some that cannot; so false chains go far."""
    rng = random.Random(seed)
    content = rng.choices((0, 0, 0, 1, 12, 16, 28, 200, 255), k=lead * 4)
    truth = []
    for length in lengths:
        truth.append(len(content))
        body = rng.choices((0, 0, 0, 4, 12, 20, 64), k=length * 4 if words else length)
        if words:
            content += [*struct.pack(order + "II", 6, len(body) + 12), *body, *struct.pack(order + "I", len(body) + 12)]
        else:
            content += [*struct.pack(order + "IIII", 5, 5, len(body), len(body)), *body]
    end = max(len(content) - cut, lead * 4)
    buffer = np.zeros(len(content) + 1024, np.uint8)
    buffer[: len(content)] = content

    def find(_: Bytes, places: Places, width: int, end: int) -> tuple[np.ndarray, Places]:
        index = []
        found = []
        for number, place in enumerate(places.tolist()):
            inside = [start for start in truth if place <= start < place + width]
            if inside and rng.random() >= lies:
                guess = inside[0]
            else:
                guess = place + rng.randrange(width)
                guess -= guess % 4 if words else 0
            if place <= guess < end:
                index.append(number)
                found.append(guess)
        return np.array(index, np.intp), np.array(found, np.int64)

    walk = block_walk if words else pcap_walk
    expected = walk(order).starts(buffer, lead * 4, end)
    with chains_for_few_records():
        found = walk(order).starts(buffer, lead * 4, end, find)
    assert found.tolist() == expected.tolist()
    assert found.tolist() == truth[: len(found)]


def hostile_packets(rng: random.Random, count: int, order: Order) -> list[Packet]:
    """Packets whose content is record headers and whole captures, as when captures are copied over the network."""

    def harmless() -> bytes:
        return rng.randbytes(rng.randrange(20, 150))

    def headers() -> bytes:
        return b"".join(
            struct.pack(order + "IIII", 1_790_000_000, rng.randrange(1000), size, size + rng.randrange(3))
            for size in rng.choices((0, 16, 32, 48, 100, 1500), k=rng.randrange(1, 12))
        )

    def blocks() -> bytes:
        writer = PcapngWriter(order)
        return b"".join(
            writer.enhanced(0, START // 1000, bytes(rng.randrange(50)), 60) for _ in range(rng.randrange(1, 5))
        )

    def capture() -> bytes:
        inner = [Packet(START + number, rng.randbytes(rng.randrange(60)), 60) for number in range(rng.randrange(1, 6))]
        return pcap(inner, order)[rng.randrange(40) :]

    packets = []
    for number in range(count):
        data = rng.choice((harmless, headers, headers, blocks, capture))()
        packets.append(Packet(START + number * 1000, data, len(data)))
    return packets


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(10, 300),
    order=ORDERS,
    octets=st.one_of(st.none(), st.integers(1000, 20000)),
)
def test_packets_full_of_records_do_not_mislead(seed: int, count: int, order: Order, octets: int | None) -> None:
    packets = hostile_packets(random.Random(seed), count, order)
    writer = PcapngWriter(order)
    ng = writer.section() + writer.interface()
    ng += b"".join(writer.enhanced(0, packet.time_ns // 1000, packet.data, packet.wire) for packet in packets)
    with chains_for_few_records():
        assert read(pcap(packets, order), octets) == (packets, [])
        assert read(ng, octets) == (packets, [])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), order=ORDERS, ng=st.booleans(), octets=st.sampled_from((None, 3000)))
def test_damage_among_chains_is_found_where_the_plain_loop_finds_it(
    seed: int, order: Order, ng: bool, octets: int | None
) -> None:
    rng = random.Random(seed)
    packets = hostile_packets(rng, 200, order)
    if ng:
        writer = PcapngWriter(order)
        content = writer.section() + writer.interface()
        content += b"".join(writer.enhanced(0, packet.time_ns, packet.data, packet.wire) for packet in packets)
    else:
        content = pcap(packets, order)
    damaged = bytearray(content)
    for _ in range(rng.randrange(1, 30)):
        damaged[rng.randrange(40, len(damaged))] = rng.choice((0, 1, 255, rng.randrange(256)))
    with no_chains():
        expected = read(bytes(damaged), octets)
    with chains_for_few_records():
        assert read(bytes(damaged), octets) == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ng", [False, True])
def test_an_ordinary_capture_needs_no_plain_loop(order: Order, ng: bool) -> None:
    rng = random.Random(4)
    packets = [Packet(START + 9 * number, rng.randbytes(rng.randrange(54, 128)), 1500) for number in range(20_000)]
    writer = PcapngWriter(order)
    if ng:
        content = writer.section() + writer.interface(resolution=9)
        content += b"".join(writer.enhanced(0, packet.time_ns, packet.data, packet.wire) for packet in packets)
    else:
        content = pcap(packets, order)
    steps = 0
    plain = RecordWalk._plain

    def counted(self: RecordWalk, *arguments: object) -> tuple[list[int], int]:
        nonlocal steps
        found, at = plain(self, *arguments)  # type: ignore[arg-type]
        steps += len(found)
        return found, at

    with mock.patch.object(RecordWalk, "_plain", counted), mock.patch.object(RecordWalk, "_repaired", None):
        assert read(content)[0] == packets
    assert steps <= 64


def test_one_long_record_among_many_short_ones_costs_no_more_than_itself() -> None:
    """The mean length of a record says little then."""
    packets = [Packet(START + number, bytes(60), 60) for number in range(5000)]
    packets[2500] = Packet(START + 2500, bytes(1 << 20), 1 << 20)
    assert read(pcap(packets)) == (packets, [])


def test_times_that_jump_only_cost_speed() -> None:
    rng = random.Random(5)
    packets = [Packet(rng.randrange(2**32 * SECOND), bytes(60), 60) for _ in range(5000)]
    assert read(pcap(packets)) == (packets, [])


def test_records_without_content_stand_next_to_each_other() -> None:
    packets = [Packet(START + number, b"", 0) for number in range(200_000)]
    content = pcap_header() + b"".join(map(pcap_record, packets))
    with in_memory(content) as path, open_file(path) as file:
        assert packets_of(file) == packets
        assert file.warnings == []
