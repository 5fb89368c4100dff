"""How much a path changed the order of packets: the metrics of RFC 4737 and RFC 5236.

Every function takes the sequence numbers of the packets that arrived, in the order of arrival; the sender counted them
up by one from ``first``. A second arrival of a packet is a duplicate and is left out (RFC 4737 section 4.1.3, RFC 5236
section 3.1).
"""

from __future__ import annotations

import bisect
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice


def without_duplicates(arrived: Iterable[int]) -> list[int]:
    """The first arrival of each packet."""
    return list(dict.fromkeys(arrived))


@dataclass(frozen=True, slots=True)
class Reordered:
    """A packet that came after one which was sent later (RFC 4737 section 3)."""

    sequence: int
    position: int
    """Of its arrival, from 1, duplicates left out: RFC 4737's i."""
    extent: int
    """Packets back to the earliest arrival that was sent later than this one (section 4.2)."""
    n_reordering: int
    """The largest n for which it is n-reordered: packets right before it that were all sent later (section 5.3)."""


def reordered(arrived: Iterable[int]) -> list[Reordered]:
    """The reordered packets, in the order of arrival."""
    packets = without_duplicates(arrived)
    found = []
    highest: list[int] = []  # highest[i]: the greatest of the first i + 1 packets; ascending, so it can be searched
    for index, sequence in enumerate(packets):
        if highest and sequence < highest[-1]:
            earliest = bisect.bisect_right(highest, sequence)
            behind = 0
            while packets[index - behind - 1] > sequence:
                behind += 1
                if behind == index:
                    break
            found.append(Reordered(sequence, index + 1, index - earliest, behind))
        highest.append(max(sequence, highest[-1]) if highest else sequence)
    return found


def reordered_ratio(arrived: Sequence[int]) -> float:
    """Reordered packets as a share of those received (RFC 4737 section 4.1); 0 for none."""
    packets = without_duplicates(arrived)
    return len(reordered(packets)) / len(packets) if packets else 0.0


def n_reordering_degree(arrived: Sequence[int], n: int) -> float:
    """Packets that are n-reordered as a share of those received (RFC 4737 section 5.3).

    TCP with a duplicate threshold of n takes so many for lost: n = 3 is RFC 5681's fast retransmit.
    """
    packets = without_duplicates(arrived)
    return sum(packet.n_reordering >= n for packet in reordered(packets)) / len(packets) if packets else 0.0


def late_times(arrived: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Reordered packet -> how long after the earliest arrival that was sent later it came (RFC 4737 section 4.3).

    ``arrived`` has the time of each arrival beside its sequence number.
    """
    times: dict[int, float] = {}
    for sequence, at in arrived:
        times.setdefault(sequence, at)
    order = list(times)
    return {
        packet.sequence: times[packet.sequence] - times[order[packet.position - packet.extent - 1]]
        for packet in reordered(order)
    }


def displacements(arrived: Iterable[int], threshold: int, first: int = 1) -> dict[int, int]:
    """Packet -> by how many places it came late (positive) or early: RFC 5236's D (sections 3.3 and 7.1, "stay-back").

    The places are the numbers of the packets that are not lost, in order. A packet that is further than ``threshold``
    (DT) from its place is lost: it is not counted, and later packets do not take its place.
    """
    coming = iter(without_duplicates(arrived))
    window = deque(islice(coming, threshold + 1))
    early: set[int] = set()
    """Arrived before their places, which are still to be given away."""
    found: dict[int, int] = {}
    place = first
    while window:
        place = min(number for number in (*window, *early) if number >= place)
        sequence = window.popleft()
        displacement = place - sequence
        if abs(displacement) <= threshold:
            found[sequence] = displacement
            early.discard(place)
            if displacement < 0:
                early.add(sequence)
            place += 1
        for following in coming:
            if following >= place:
                window.append(following)
                break
    return found


def reorder_density(arrived: Sequence[int], threshold: int, first: int = 1) -> dict[int, float]:
    """RD: displacement -> share of the packets with it, ascending (RFC 5236 section 3.6)."""
    return _shares(Counter(displacements(arrived, threshold, first).values()))


def buffer_occupancies(arrived: Iterable[int], threshold: int, first: int = 1) -> list[int]:
    """Packets that a receiver keeps for others to come, after each arrival (RFC 5236 sections 3.8 and 7.2).

    A packet is given up when the buffer would hold more than ``threshold`` packets (BT); what comes of it later is
    not counted.
    """
    kept: set[int] = set()
    expected = first
    occupancies = []
    for sequence in without_duplicates(arrived):
        if sequence < expected:
            continue
        kept.add(sequence)
        if len(kept) > threshold and expected not in kept:
            expected = min(kept)
        while expected in kept:
            kept.remove(expected)
            expected += 1
        occupancies.append(len(kept))
    return occupancies


def buffer_occupancy_density(arrived: Sequence[int], threshold: int, first: int = 1) -> dict[int, float]:
    """RBD: occupancy of the buffer -> share of the arrivals that leave it so, ascending (RFC 5236 section 3.11)."""
    return _shares(Counter(buffer_occupancies(arrived, threshold, first)))


def _shares(counts: Mapping[int, int]) -> dict[int, float]:
    total = sum(counts.values())
    return {value: counts[value] / total for value in sorted(counts)}
