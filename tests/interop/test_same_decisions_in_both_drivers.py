"""One seeded profile, two drivers: what the relay does to real packets is what the network in virtual time does.

The packets leave in one burst, well within the delay of the link: the ones that are reordered skip it and come first.
So the order of arrival is decided by the seed alone, unless the machine stands still for as long as the delay.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator, Sequence

import pytest
from emulation_lab import Lab

from analysis.reordering import reordered_ratio
from testbed.emulation.protocol import LinkConfiguration
from testbed.net.counters import LinkCounters
from testbed.net.forwarding import ForwardingTable, Prefix
from testbed.net.middlebox import FORWARD
from testbed.net.network import Network
from testbed.net.simulator import Simulator
from testbed.wire.codec import decode, encode
from testbed.wire.errors import DecodeError
from testbed.wire.options import NOP, Timestamps
from testbed.wire.segment import ACK, Segment, SocketAddress
from topologies import queue_discipline
from topologies.link_profile import DropList, GilbertElliott, LinkProfile, QueueLimit, RandomLoss, Reordering
from topologies.middlebox import Middlebox, parse
from topologies.traces import from_bytes

pytestmark = pytest.mark.needs_root

MS = 10**6
SEED = 77
PACKETS = 200
SIZE = 1400
"""Of the largest payload."""
DELAY_NS = 400 * MS
SOURCE = SocketAddress(bytes([10, 77, 1, 201]), 4000)
DESTINATION = SocketAddress(bytes([10, 77, 1, 202]), 5001)
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
ETHERNET = bytes([2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8]) + b"\x08\x00"
"""Addresses of neither host: no kernel answers."""
COUNTED = (
    "arrived_packets",
    "arrived_bytes",
    "dropped_loss",
    "dropped_overflow",
    "duplicated",
    "corrupted",
    "reordered",
)

QUEUE = QueueLimit(packets=1000)
TRACE = from_bytes("steps", b"time_s,rate_bit_s,delay_ms,loss\n0,1000000000,400,10%\n600,500000000,400,10%\n")
ALL = {"reordering": Reordering(0.2), "duplication": 0.1, "corruption": 0.1}
BURSTS = GilbertElliott(0.05, 0.3, loss_bad=0.9, loss_good=0.02)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(1) as made:
        made.run(made.m, "ethtool", "-K", "b1", "tx", "off")  # its kernel completes the checksums of changed packets
        yield made


def burst() -> list[Segment]:
    """Packets of different sizes, numbered by their sequence numbers."""
    chance = random.Random(1)
    sizes = [chance.randrange(1, SIZE) for _ in range(PACKETS)]
    options = (NOP, NOP, Timestamps(1, 2))
    return [
        Segment(SOURCE, DESTINATION, number, 1, ACK, 100, options, bytes(size), ecn=2)
        for number, size in enumerate(sizes, 1)
    ]


class Host:
    """Sends all it has at once, and notes what comes."""

    def __init__(self, packets: Sequence[Segment] = ()) -> None:
        self.arrived: list[int] = []
        self._packets = list(packets)

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.arrived.append(segment.seq)

    def segments_to_send(self, now: int) -> list[Segment]:
        packets, self._packets = self._packets, []
        return packets

    def next_timeout(self) -> int | None:
        return None

    def handle_timeout(self, now: int) -> None:
        raise AssertionError("nothing was asked for")


def in_virtual_time(
    profile: LinkProfile, middleboxes: tuple[Middlebox, ...], packets: Sequence[Segment]
) -> tuple[list[int], LinkCounters, tuple[int, int]]:
    """Order of arrival, counters of the link, and what its middleboxes dropped and changed."""
    simulator = Simulator()
    network = Network(simulator)
    table = ForwardingTable()
    table.add_route(Prefix(bytes(4), 0, "path1"))
    receiver = Host()
    sender = network.add_host("a", Host(packets), table, [SOURCE.host])
    network.add_host("b", receiver, table, [DESTINATION.host])
    network.add_link("path1", ("a", "b"), profile, LinkProfile(), (), SEED, middleboxes)
    sender.flush()
    simulator.run()
    link = network.links["path1", "a"]
    chain = link.gate.chain if link.gate is not None else None
    boxes = (0, 0) if chain is None else (chain.dropped(FORWARD), chain.changed(FORWARD))
    return receiver.arrived, link.direction.counters, boxes


def through_the_relay(lab: Lab, packets: Sequence[Segment], count: int) -> list[int]:
    """Order of arrival of what a sends at once to b, without what a kernel would drop because of its checksum.

    ``count`` are awaited, and for a moment whether there are more.
    """
    with lab.inside(lab.b):
        ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        ear.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        ear.bind(("eth1", 3))
    with lab.inside(lab.a):
        mouth = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        mouth.bind(("eth1", 0))
    frames = [ETHERNET + encode(packet) for packet in packets]
    arrived: list[int] = []
    with ear, mouth:
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cpus)})  # each CPU has a backlog of its own: moving would change the order sent
        try:
            for frame in frames:
                mouth.send(frame)
        finally:
            os.sched_setaffinity(0, cpus)
        while True:
            ear.settimeout(2 if len(arrived) < count else 0.1)
            try:
                frame, (_, _, kind, *_) = ear.recvfrom(2000)
            except TimeoutError:
                return arrived
            if kind == PACKET_OUTGOING or frame[:14] != ETHERNET:
                continue
            with contextlib.suppress(DecodeError):
                arrived.append(decode(frame, 14).seq)


@pytest.mark.parametrize(
    ("profile", "middleboxes"),
    [
        (LinkProfile(delay_ns=DELAY_NS, loss=RandomLoss(0.1, correlation=0.3), **ALL), ""),
        (LinkProfile(delay_ns=DELAY_NS, loss=BURSTS, rate_bit_s=10**9, queue=QUEUE, **ALL), ""),
        (
            LinkProfile(delay_ns=DELAY_NS, loss=DropList((3, 4, 90)), **ALL),
            "drop data nth 3+7, hold any every 9 until any every 11, strip timestamps on data first 20",
        ),
        (
            LinkProfile(delay_ns=DELAY_NS, loss=BURSTS, **ALL),
            "drop chance 20%, duplicate chance 10%, hold payload > 1000 and chance 30% until payload < 300",
        ),
        (LinkProfile(trace=TRACE, queue=QUEUE, **ALL), "drop any every 13"),
        (
            LinkProfile(
                rate_bit_s=10**9,
                delay_ns=DELAY_NS,
                loss=BURSTS,
                queue=QueueLimit(packets=1000, discipline=queue_discipline.parse("codel")[0]),
                **ALL,
            ),
            "drop any every 13",
        ),
    ],
    ids=["correlated", "bursts-rate", "drop-hold", "chance", "trace", "codel"],
)
def test_loss_copies_damage_and_order_are_the_same_in_both_drivers(
    lab: Lab, profile: LinkProfile, middleboxes: str
) -> None:
    packets, boxes = burst(), parse(middleboxes or "none")
    expected, counters, (dropped, changed) = in_virtual_time(profile, boxes, packets)
    link = LinkConfiguration(
        name="path1",
        seed=SEED,
        a_interface="a1",
        b_interface="b1",
        forward=profile,
        backward=LinkProfile(),
        middleboxes=boxes,
    )
    relay = lab.relay([link])
    with contextlib.closing(relay):
        for _attempt in range(3):  # order is lost where the machine stands still for as long as the delay
            relay.start()
            arrived = through_the_relay(lab, packets, len(expected))
            deadline = time.monotonic() + 2  # what was held longest may be damaged, and so not awaited
            while (report := relay.report().link("path1").forward).arrived_packets < counters.arrived_packets:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert sorted(arrived) == sorted(expected)
            assert {name: getattr(report, name) for name in COUNTED} == {
                name: getattr(counters, name) for name in COUNTED
            }
            if arrived == expected:
                break
    assert arrived == expected
    assert (report.dropped_middlebox, report.changed_middlebox) == (dropped, changed)
    assert min(counters.dropped_loss, counters.duplicated, counters.corrupted, counters.reordered) > 0
    assert reordered_ratio(arrived) > 0.3  # the many that waited for the few that were sent later
