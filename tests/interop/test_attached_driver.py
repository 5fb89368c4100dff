"""The driver of the userspace stack on real interfaces, a toy in the stack's place, the kernel opposite."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from emulation_lab import Lab

from testbed.endpoint.attached.driver import Attachment
from testbed.endpoint.attached.ports import PortsError, hold_client_ports, kernel_port_range
from testbed.endpoint.loop import Loop
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, Segment

pytestmark = [pytest.mark.needs_root]

ROOT = Path(__file__).parents[2]
PORT = 7001
GREETING = b"x" * 50_000
ISN = 1000


class Greeter:
    """Answers every SYN with a SYN/ACK and the acknowledgement of that with a greeting as one super-segment."""

    def __init__(self) -> None:
        self.flags: list[int] = []
        self.received = 0
        self.acknowledged = 0
        self.queue: list[Segment] = []

    def segment_arrives(self, segment: Segment, now: int) -> None:
        self.flags.append(segment.flags)
        self.received += len(segment.payload)
        here, there = segment.destination, segment.source
        if segment.flags & SYN:
            self.queue.append(Segment(here, there, ISN, segment.seq + 1 & 0xFFFFFFFF, SYN | ACK, 65535))
            return
        self.acknowledged = max(self.acknowledged, segment.ack - ISN - 1)
        acknowledge = (segment.seq + segment.seq_length) & 0xFFFFFFFF
        if self.received == 0 and self.acknowledged == 0 and not segment.flags & FIN:
            greeting = Segment(here, there, ISN + 1, acknowledge, ACK | PSH, 65535, payload=GREETING, gso_octets=1400)
            self.queue.append(greeting)
        elif segment.seq_length:
            self.queue.append(Segment(here, there, segment.ack, acknowledge, ACK, 65535))

    def segments_to_send(self, now: int) -> list[Segment]:
        queue, self.queue = self.queue, []
        return queue

    def next_timeout(self) -> int | None:
        return None

    def handle_timeout(self, now: int) -> None:
        raise AssertionError("no timer was asked for")


@contextmanager
def attached(lab: Lab, host: str, **options: object) -> Iterator[tuple[Attachment, Loop]]:
    loop = Loop()
    with lab.inside(host):
        attachment = Attachment(loop, random.Random(1), **options)  # type: ignore[arg-type]
    try:
        yield attachment, loop
    finally:
        attachment.close()
        loop.close()


def run_until(attachment: Attachment, condition: Callable[[], object], deadline_s: float = 5.0) -> None:
    loop = attachment.loop
    end_ns = time.monotonic_ns() + int(deadline_s * 1e9)
    timer = loop.at(end_ns, lambda: None)

    def done() -> bool:
        attachment.flush()
        return bool(condition()) or time.monotonic_ns() > end_ns

    loop.run(done)
    timer.cancel()


def resets_sent(lab: Lab, host: str) -> int:
    lines = [line.split() for line in lab.run(host, "nstat", "-azs", "TcpOutRsts").splitlines()]
    return int(next(line[1] for line in lines if line[0] == "TcpOutRsts"))


@pytest.mark.parametrize("offloads", [True, False])
@pytest.mark.parametrize("remote", ["10.77.1.1", "fd77:1::1"])
def test_a_kernel_client_is_answered_by_us_and_never_by_the_kernel(remote: str, offloads: bool) -> None:
    greeter = Greeter()
    with (
        Lab(1, offloads=offloads) as lab,
        bridged(lab),
        attached(lab, lab.a, listen_ports=[PORT]) as (attachment, loop),
    ):
        attachment.drive(greeter)
        client = connecting(lab, remote)
        read = bytearray()
        loop.watch(client.fileno(), lambda: read.extend(receive(client)))
        run_until(attachment, lambda: len(read) == len(GREETING))
        client.send(b"thanks")
        run_until(attachment, lambda: greeter.received)
        loop.watch(client.fileno())
        client.close()
        assert bytes(read) == GREETING
        assert greeter.received == len(b"thanks")
        assert not any(flags & RST for flags in greeter.flags)
        assert resets_sent(lab, lab.a) == 0
        assert attachment.statistics.super_segments_out == 1
        assert attachment.statistics.checksum_errors == attachment.statistics.malformed == 0
        assert attachment.dropped == 0


def test_an_address_that_goes_and_a_new_interface_are_told() -> None:
    seen: list[tuple[str, bool]] = []
    with Lab(2) as lab, attached(lab, lab.a, family=4) as (attachment, _):
        assert [socket.inet_ntoa(address) for address in attachment.addresses] == ["10.77.1.1", "10.77.2.1"]
        attachment.drive(Greeter(), lambda address, there, now: seen.append((socket.inet_ntoa(address), there)))
        lab.run(lab.a, "ip", "address", "del", "10.77.1.1/24", "dev", "eth1")
        run_until(attachment, lambda: len(seen) == 1)
        lab.run(lab.a, "ip", "link", "set", "dev", "eth2", "down")
        run_until(attachment, lambda: len(seen) == 2)
        lab.run(lab.a, "ip", "link", "set", "dev", "eth2", "up")
        run_until(attachment, lambda: len(seen) == 3)
        lab.run(lab.a, "ip", "address", "add", "10.77.1.9/24", "dev", "eth1")
        run_until(attachment, lambda: len(seen) == 4)
    assert seen == [("10.77.1.1", False), ("10.77.2.1", False), ("10.77.2.1", True), ("10.77.1.9", True)]


def test_only_routed_destinations_can_be_reached() -> None:
    with Lab(1) as lab, attached(lab, lab.a) as (attachment, _):
        local, remote = socket.inet_aton("10.77.1.1"), socket.inet_aton("10.77.1.2")
        assert attachment.can_reach(local, remote)
        assert not attachment.can_reach(local, socket.inet_aton("192.0.2.1"))
        assert not attachment.can_reach(local, socket.inet_pton(socket.AF_INET6, "fd77:1::2"))


def test_two_endpoints_of_one_host_hold_different_ports_outside_the_kernels_range() -> None:
    low, high = kernel_port_range()
    blocks = [hold_client_ports(random.Random(1)) for _ in range(3)]
    try:
        ranges = sorted(block.range for block in blocks)
        assert all(first[1] < second[0] for first, second in itertools.pairwise(ranges))
        assert all(last < low or first > high for first, last in ranges)
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", ranges[0][0]))
    finally:
        for block in blocks:
            block.close()


def test_a_port_with_a_kernel_listener_is_refused() -> None:
    with Lab(1) as lab:
        with lab.inside(lab.a):
            listener = socket.create_server(("", PORT))
        with (
            listener,
            pytest.raises(PortsError, match=f"port {PORT} is in use"),
            attached(lab, lab.a, listen_ports=[PORT]),
        ):
            pass
        assert lab.run(lab.a, "nft", "list", "tables") == ""


def test_nothing_is_left_behind_when_the_process_is_killed() -> None:
    program = (
        "import random, sys, time\n"
        "from testbed.endpoint.attached.driver import Attachment\n"
        "from testbed.endpoint.loop import Loop\n"
        f"held = Attachment(Loop(), random.Random(1), listen_ports=[{PORT}])\n"
        "print('attached', flush=True)\n"
        "time.sleep(60)\n"
    )
    with Lab(1) as lab:
        child = lab.popen(lab.a, sys.executable, "-c", program, stdout=-1, cwd=ROOT)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "attached\n"
            assert "testbed-endpoint" in lab.run(lab.a, "nft", "list", "tables")
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
        assert lab.run(lab.a, "nft", "list", "tables") == ""
        with lab.inside(lab.a), socket.socket() as again:
            again.bind(("", PORT))


@contextmanager
def bridged(lab: Lab) -> Iterator[None]:
    """The two ends of the lab joined by a bridge in the middle, without a relay."""
    commands = ["ip link add name br type bridge", "ip link set dev br up"]
    commands += [f"ip link set dev {port} master br" for port in ("a1", "b1")]
    for command in commands:
        lab.run(lab.m, *command.split())
    yield


def connecting(lab: Lab, remote: str) -> socket.socket:
    with lab.inside(lab.b):
        client = socket.socket(socket.AF_INET6 if ":" in remote else socket.AF_INET)
    client.setblocking(False)
    assert client.connect_ex((remote, PORT)) in (0, 115)
    return client


def receive(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except OSError:
        return b""
