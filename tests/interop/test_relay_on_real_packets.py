"""The relay between two namespaces, with the kernel's own traffic."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulation_lab import ADDRESSES, Lab, stream

from testbed.emulation.calibration import ProbedLink, calibrate
from testbed.emulation.probes import probe_socket
from testbed.emulation.protocol import LinkConfiguration, LinkReport
from testbed.net.link import Drop, duplex
from topologies.link_profile import (
    Change,
    DropList,
    EveryNth,
    Jitter,
    LinkProfile,
    QueueLimit,
    RandomLoss,
    Reordering,
)

pytestmark = pytest.mark.needs_root

MS = 10**6
IPPROTO_MPTCP = 262
UDP_SEGMENT = 103
FAST = LinkProfile(rate_bit_s=400 * 10**6, queue=QueueLimit(packets=1000), delay_ns=1 * MS)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def link(
    forward: LinkProfile, backward: LinkProfile | None = None, changes: tuple[Change, ...] = (), seed: int = 1
) -> LinkConfiguration:
    return LinkConfiguration(
        name="path1",
        seed=seed,
        a_interface="a1",
        b_interface="b1",
        forward=forward,
        backward=backward or LinkProfile(delay_ns=forward.delay_ns),
        changes=changes,
    )


def udp_pair(lab: Lab, family: socket.AddressFamily = socket.AF_INET) -> tuple[socket.socket, socket.socket]:
    """Connected from a, bound on b; with what came over to b before waited for, so that neighbours are known."""
    with lab.inside(lab.a):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with lab.inside(lab.b):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    sender.bind((ADDRESSES[family][0], 7000))
    receiver.bind((ADDRESSES[family][1], 7001))
    sender.connect((ADDRESSES[family][1], 7001))
    receiver.settimeout(5)
    return sender, receiver


def exchange(sender: socket.socket, receiver: socket.socket, count: int) -> list[int]:
    """Datagrams 0 .. count-1 and an end mark that is sent until it arrives; the numbers that arrived, in order."""
    for number in range(count):
        sender.send(number.to_bytes(4, "big"))
    seen = []
    receiver.settimeout(0.25)
    while True:
        try:
            number = int.from_bytes(receiver.recv(64), "big")
        except TimeoutError:
            sender.send((2**32 - 1).to_bytes(4, "big"))
            continue
        if number == 2**32 - 1:
            return seen
        seen.append(number)


def assert_conserved(report: LinkReport) -> None:
    for direction in (report.forward, report.backward):
        dropped = direction.dropped_loss + direction.dropped_overflow + direction.dropped_outage
        left = direction.delivered_packets + direction.in_flight_packets + dropped
        assert direction.arrived_packets + direction.duplicated == left
        assert (direction.socket_drops, direction.send_errors, direction.unsupported_frames) == (0, 0, 0)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_it_forwards_both_families_both_ways(lab: Lab, family: socket.AddressFamily) -> None:
    relay = lab.relay([link(FAST, FAST)])
    sender, receiver = udp_pair(lab, family)
    with sender, receiver:
        sender.send(b"there")
        data, peer = receiver.recvfrom(64)
        receiver.sendto(b"back", peer)
        sender.settimeout(5)
        assert (data, sender.recv(64)) == (b"there", b"back")
    report = relay.stop().link("path1")
    assert report.forward.bypassed_frames >= 1  # neighbour discovery
    assert (report.forward.arrived_packets, report.backward.arrived_packets) == (1, 1)


@pytest.mark.parametrize("loss", [RandomLoss(0.1), DropList((1, 5, 6, 150)), EveryNth(10)])
def test_the_kernels_packets_are_dropped_as_the_pure_model_says(
    lab: Lab, loss: RandomLoss | DropList | EveryNth
) -> None:
    configuration = link(LinkProfile(delay_ns=MS, loss=loss), seed=42)
    relay = lab.relay([configuration])
    sender, receiver = udp_pair(lab)
    with sender, receiver:
        exchange(sender, receiver, 1)
        runs = []
        for _ in range(2):
            relay.start()
            runs.append(exchange(sender, receiver, 200))
    model, _ = duplex(configuration.forward, configuration.backward, (), configuration.seed)
    expected = [number for number in range(200) if model.arrives(46, number) is not Drop.LOSS]
    assert runs == [expected, expected]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_super_segments_with_holes_still_carry_the_stream(lab: Lab, family: socket.AddressFamily) -> None:
    impaired = dataclasses.replace(
        FAST, loss=RandomLoss(0.01), reordering=Reordering(0.02), duplication=0.01, corruption=0.01
    )
    relay = lab.relay([link(impaired)])
    relay.start()
    sent, received = stream(lab, 4_000_000, family)
    report = relay.report().link("path1")
    assert received == sent
    assert report.forward.super_segments > 0
    assert min(report.forward.dropped_loss, report.forward.reordered, report.forward.duplicated) > 0
    assert_conserved(report)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_of_one_udp_super_segment_are_dropped_one_by_one(lab: Lab, family: socket.AddressFamily) -> None:
    relay = lab.relay([link(LinkProfile(delay_ns=MS, loss=DropList((2, 3, 10))))])
    sender, receiver = udp_pair(lab, family)
    with sender, receiver:
        exchange(sender, receiver, 1)
        relay.start()
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        sender.send(b"".join(bytes([number]) * 1000 for number in range(1, 11)))
        received = [receiver.recv(2000) for _ in range(7)]
    assert received == [bytes([number]) * 1000 for number in (1, 4, 5, 6, 7, 8, 9)]
    assert relay.stop().link("path1").forward.super_segments == 1


@pytest.mark.needs_mptcp
def test_an_mptcp_connection_keeps_its_stream_when_one_path_has_holes() -> None:
    """A DSS mapping covers a whole super-segment, so every piece of it must still carry the option."""
    path = LinkProfile(rate_bit_s=50 * 10**6, queue=QueueLimit(packets=200), delay_ns=2 * MS)
    holes = dataclasses.replace(path, loss=DropList((60, 61, 90, 150, 151, 152, 230, 400)))
    with Lab(links=2) as lab:
        for host in (lab.a, lab.b):
            lab.run(host, "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
        lab.run(lab.b, "ip", "mptcp", "endpoint", "add", "10.77.2.2", "dev", "eth2", "signal")
        first = link(path)
        second = dataclasses.replace(link(holes), name="path2", a_interface="a2", b_interface="b2")
        relay = lab.relay([first, second])
        relay.start()
        sent, received = stream(lab, 6_000_000, protocol=IPPROTO_MPTCP)
        report = relay.stop()
    assert received == sent
    assert report.link("path2").forward.dropped_loss == 8
    for direction in (report.link("path1").forward, report.link("path2").forward):
        assert direction.super_segments > 0
    assert_conserved(report.link("path2"))


def test_a_corrupted_packet_fails_the_receivers_checksum(lab: Lab) -> None:
    lab.relay([link(LinkProfile(corruption=1.0))])
    sender, receiver = udp_pair(lab)

    def counter(name: str) -> int:
        with lab.inside(lab.b):
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        names, values = [line.split() for line in lines if line.startswith("Udp:")]
        return int(values[names.index(name)])

    with sender, receiver:
        receiver.settimeout(0.2)
        for _ in range(50):
            sender.send(bytes(1000))
        with pytest.raises(TimeoutError):
            receiver.recv(2000)
    # A flipped port or length is not a checksum error of this socket, but 1000 bytes of payload almost always are.
    assert counter("InCsumErrors") + counter("NoPorts") + counter("InErrors") >= 45


def test_an_outage_takes_what_arrives_while_it_lasts(lab: Lab) -> None:
    """Down from the start on, and never up again: no clock decides this test."""
    relay = lab.relay([link(LinkProfile(delay_ns=MS), changes=(Change(at_ns=0, direction="forward", down=True),))])
    sender, receiver = udp_pair(lab)
    with sender, receiver:
        assert exchange(sender, receiver, 5) == [0, 1, 2, 3, 4]  # the schedule has not begun
        relay.start()
        for _ in range(5):
            sender.send(b"dark")
        receiver.settimeout(0.2)
        with pytest.raises(TimeoutError):
            receiver.recv(64)
    report = relay.stop().link("path1")
    assert (report.forward.dropped_outage, report.forward.delivered_packets) == (5, 0)
    assert [change.what for change in report.changes] == ["forward: down"]


def test_start_zeroes_the_books_and_eof_ends_the_process(lab: Lab) -> None:
    relay = lab.relay([link(LinkProfile())])
    sender, receiver = udp_pair(lab)
    with sender, receiver:
        exchange(sender, receiver, 3)
        assert relay.report().link("path1").forward.arrived_packets >= 3
        started = relay.start()
        report = relay.report()
        assert report.link("path1").forward.arrived_packets == 0
        assert report.started_ns == started.monotonic_ns
    relay.close()
    assert relay.process.returncode == 0


def test_calibration_passes_a_true_link_and_finds_an_untrue_one(lab: Lab) -> None:
    true = LinkProfile(rate_bit_s=20_000_000, queue=QueueLimit(packets=34), delay_ns=10 * MS, loss=RandomLoss(0.05))
    lab.relay([link(true, true)])
    with lab.inside(lab.a):
        a = probe_socket("eth1")
    with lab.inside(lab.b):
        b = probe_socket("eth1")
    with a, b:
        for measurement in calibrate([ProbedLink("path1", true, true, a, b)], attempts=5):
            assert measurement.is_within, measurement.describe()
        wrong = dataclasses.replace(true, rate_bit_s=30_000_000, delay_ns=20 * MS, jitter=Jitter(0))
        for measurement in calibrate([ProbedLink("path1", wrong, wrong, a, b)], attempts=1):
            assert len(measurement.problems) >= 2, measurement.describe()
