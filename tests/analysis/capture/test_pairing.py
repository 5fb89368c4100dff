"""The same packets at two places, by packets of which everything is known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from made_batches import ACK, Made, MadeCapture
from made_connection import ISN, MS, end, handshake

from analysis.capture.pairing import Pairs, pair
from analysis.capture.resolution import resolve

DELAY = 7 * MS
START = 10_000_000 * MS


def transfer(count: int = 400) -> list[Made]:
    """Both ways at the client: (data there, acknowledgment with data back) every millisecond."""
    packets = handshake(0, START)
    for number in range(count):
        now = START + (100 + number) * MS
        stamp = (1000 + number, 2000 + number)
        client, server = end(1, 0), end(2, 0)
        packets.append(Made(client, server, now, ISN + 1 + 10 * number, ISN + 8, ACK, 10, timestamps=stamp))
        packets.append(Made(server, client, now + 9000, ISN + 8 + number, ISN + 1, ACK, 1, timestamps=stamp[::-1]))
    return packets


def elsewhere(packets: list[Made], lost: set[int], clock: int, chance: random.Random) -> tuple[list[Made], list[int]]:
    """The server's view: what the client sent comes later, what it got was there earlier; (packets, delays)."""
    found, delays = [], []
    for number, packet in enumerate(packets):
        delay = DELAY + chance.randrange(MS)
        if number in lost:
            continue
        there = packet.source[1] != 5001
        found.append(replace(packet, time_ns=packet.time_ns + (delay if there else -delay) + clock))
        delays.append(delay if there else -delay)
    order = sorted(range(len(found)), key=lambda index: found[index].time_ns)
    return [found[index] for index in order], delays


def paired(one: list[Made], two: list[Made], size: int) -> Pairs:
    a, b = MadeCapture(one, size), MadeCapture(two, size)
    return pair(a, resolve(a), b, resolve(b))


@pytest.mark.parametrize(
    ("size", "clock"), [(1, 0), (50, 0), (50, 3_600_000_000_000), (10_000, -5 * MS), (10_000, -3_600_000_000_000)]
)
def test_delays_and_losses_are_found_whatever_the_clocks(size, clock) -> None:
    chance = random.Random(size)
    packets = transfer(60 if size == 1 else 400)
    ahead = [number for number, packet in enumerate(packets) if packet.source[1] != 5001 and number > 10]
    lost = set(chance.sample(ahead[:-5], 9))
    other, delays = elsewhere(packets, lost, clock, chance)
    pairs = paired(packets, other, size)
    assert pairs.from_a(0) and not pairs.from_a(1)
    assert pairs.paired.tolist() == [sum(d > 0 for d in delays), sum(d < 0 for d in delays)]
    assert pairs.missing(0, near=True, from_a=True) == (9, 90)
    assert pairs.missing(0, near=False, from_a=True) == (0, 0)
    there = sorted(delay + clock for delay in delays if delay > 0)
    found = pairs.delays(0, from_a=True)
    assert (found["delay_min_ns"], found["delay_max_ns"]) == (there[0], there[-1])
    assert found["delay_mean_ns"] == sum(there) // len(there)
    median = there[(len(there) + 1) // 2 - 1]
    assert abs((found["delay_p50_ns"] or 0) - median) <= 0.002 * (median - there[0] + 11 * MS)
    back = sorted(-delay - clock for delay in delays if delay < 0)
    assert pairs.delays(1, from_a=False)["delay_min_ns"] == back[0]


def test_a_packet_that_came_without_having_left_is_extra() -> None:
    packets = transfer(100)
    other, _ = elsewhere(packets, set(), 0, random.Random(1))
    middle = next(packet for packet in other if packet.payload == 10 and packet.time_ns > START + 150 * MS)
    other.append(replace(middle, time_ns=middle.time_ns + 20 * MS))
    other.sort(key=lambda packet: packet.time_ns)
    pairs = paired(packets, other, 37)
    assert pairs.missing(0, near=False, from_a=True) == (1, 10)
    assert pairs.missing(0, near=True, from_a=True) == (0, 0)


def test_packets_that_are_alike_are_paired_in_their_order() -> None:
    client, server = end(1, 0), end(2, 0)
    alike = [Made(client, server, (100 + number) * MS, ISN + 1, ISN + 8, ACK) for number in range(5)]
    packets = [*handshake(0, 0), *alike]
    other, _ = elsewhere(packets, set(), 0, random.Random(2))
    pairs = paired(packets, other, 1000)
    assert pairs.paired.tolist() == [7, 1]
    assert (pairs.delays(0, from_a=True)["delay_max_ns"] or 0) < DELAY + MS


def test_flows_of_one_place_alone_are_not_looked_for() -> None:
    packets = transfer(20)
    other, _ = elsewhere(packets, set(), 0, random.Random(3))
    more = [*packets, *handshake(1, 500 * MS)]
    pairs = paired(more, other, 10)
    assert pairs.paired.tolist() == [22, 21, 0, 0]
    assert pairs.missing(2, near=True, from_a=True) == (0, 0)


def test_another_life_of_the_same_ends_is_not_taken_for_this_one() -> None:
    packets = transfer(20)
    other = [replace(packet, seq=packet.seq + 77_777) for packet in packets]
    assert not paired(packets, other, 1000).paired.any()
