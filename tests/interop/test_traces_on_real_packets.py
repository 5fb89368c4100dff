"""Traces replayed by the relay on the kernel's packets: when it is time, in step, and as the pure model says."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator

import pytest
from emulation_lab import Lab

from testbed.emulation.calibration import ProbedLink, calibrate
from testbed.emulation.probes import probe_socket
from testbed.emulation.protocol import LinkConfiguration
from testbed.net.link import Drop, duplex
from topologies import traces
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.traces import Trace, from_bytes

pytestmark = pytest.mark.needs_root

MS = 10**6


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(links=2) as made:
        yield made


def link(number: int, trace: Trace) -> LinkConfiguration:
    return LinkConfiguration(
        name=f"path{number}",
        seed=number,
        a_interface=f"a{number}",
        b_interface=f"b{number}",
        forward=LinkProfile(trace=trace, queue=QueueLimit(packets=100)),
        backward=LinkProfile(),
    )


def pairs(lab: Lab) -> list[tuple[socket.socket, socket.socket]]:
    """For each path: connected from a, bound on b; a first datagram has crossed, so that neighbours are known."""
    found = []
    for number in lab.numbers:
        with lab.inside(lab.a):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with lab.inside(lab.b):
            receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind((f"10.77.{number}.2", 7001))
        receiver.settimeout(0.3)
        sender.connect((f"10.77.{number}.2", 7001))
        for _ in range(30):  # the first one may be lost
            sender.send(b"first")
            with contextlib.suppress(TimeoutError):
                receiver.recv(64)
                break
        found.append((sender, receiver))
    return found


def test_two_links_deliver_at_the_times_of_their_traces_from_one_start(lab: Lab) -> None:
    relay = lab.relay([link(1, from_bytes("one", b"40\n80\n")), link(2, from_bytes("two", b"60\n120\n"))])
    paths = pairs(lab)
    started_ns = relay.start().monotonic_ns
    sent: list[list[int]] = [[], []]
    arrived: list[list[int]] = [[], []]
    for _, receiver in paths:
        receiver.setblocking(False)
    end_ns = started_ns + 700 * MS
    due_ns = started_ns
    while (now_ns := time.monotonic_ns()) < end_ns:
        for index, (sender, receiver) in enumerate(paths):
            if due_ns <= now_ns < end_ns - 200 * MS:
                sender.send(len(sent[index]).to_bytes(4, "big"))
                sent[index].append(now_ns - started_ns)
            with contextlib.suppress(BlockingIOError):
                receiver.recv(64)
                arrived[index].append(time.monotonic_ns() - started_ns)
        if due_ns <= now_ns:
            due_ns = now_ns + 7 * MS
        time.sleep(0.0002)
    for sender, receiver in paths:
        sender.close()
        receiver.close()
    report = relay.stop()
    for index, every_ms in enumerate((40, 60)):
        assert len(arrived[index]) == len(sent[index]) > 20
        late = []
        for sent_ns, arrived_ns in zip(sent[index], arrived[index], strict=True):
            assert arrived_ns // (every_ms * MS) > sent_ns // (every_ms * MS)  # not before the next delivery
            late.append(arrived_ns % (every_ms * MS))
        assert statistics.median(late) < 5 * MS
        direction = report.link(f"path{index + 1}").forward
        assert direction.arrived_packets == direction.delivered_packets == len(sent[index])


def test_losses_of_a_trace_are_those_of_the_pure_model(lab: Lab) -> None:
    lossy = link(1, from_bytes("lossy", b"time_s,loss_percent\n0,30\n"))
    relay = lab.relay([lossy, link(2, traces.load("lte_down"))])
    (sender, receiver), (other, its_end) = pairs(lab)
    relay.start()
    for number in range(200):
        sender.send(number.to_bytes(4, "big"))
    receiver.settimeout(0.3)
    seen = []
    with contextlib.suppress(TimeoutError):
        while True:
            seen.append(int.from_bytes(receiver.recv(64), "big"))
    for each in (sender, receiver, other, its_end):
        each.close()
    relay.stop()
    model, _ = duplex(lossy.forward, lossy.backward, (), lossy.seed)
    assert seen == [number for number in range(200) if model.arrives(46, number) is not Drop.LOSS]
    assert 40 < 200 - len(seen) < 80


def test_before_the_start_a_traced_link_is_calibrated_at_its_means(lab: Lab) -> None:
    walk, lte = link(1, traces.load("walk_wifi")), link(2, traces.load("lte_down"))
    lab.relay([walk, lte])
    with contextlib.ExitStack() as stack:
        probed = []
        for number, each in ((1, walk), (2, lte)):
            ends = []
            for host in (lab.a, lab.b):
                with lab.inside(host):
                    ends.append(stack.enter_context(probe_socket(f"eth{number}")))
            probed.append(ProbedLink(each.name, each.forward, each.backward, *ends))
        for measurement in calibrate(probed, attempts=5):
            assert measurement.is_within, measurement.describe()
            if measurement.direction == "forward":
                assert measurement.rate_bit_s is not None
