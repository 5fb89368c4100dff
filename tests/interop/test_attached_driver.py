"""The driver of the userspace stack on real interfaces, a toy in the stack's place, the kernel opposite."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from emulation_lab import Lab
from endpoint_pair import loopback_namespace

from testbed.endpoint.attached.driver import BLOCKED_LIMIT, Attachment
from testbed.endpoint.attached.interfaces import KernelTables, NextHop
from testbed.endpoint.attached.packet_port import AttachError, PacketPort
from testbed.endpoint.attached.ports import PortsError, hold_client_ports, kernel_port_range
from testbed.endpoint.loop import Loop
from testbed.orchestrator.namespaces import inside
from testbed.tcp.icmp import Icmp, IcmpKind
from testbed.wire.codec import encode
from testbed.wire.segment import ACK, FIN, PSH, RST, SYN, Segment, SocketAddress

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


class Noted:
    """What the driver tells beside segments."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, bool]] = []
        self.icmp: list[tuple[SocketAddress, SocketAddress, Icmp]] = []

    def add_address(self, address: bytes, now: int) -> None:
        self.addresses.append((socket.inet_ntoa(address), True))

    def remove_address(self, address: bytes, now: int) -> None:
        self.addresses.append((socket.inet_ntoa(address), False))

    def icmp_arrives(self, local: SocketAddress, remote: SocketAddress, message: Icmp, now: int) -> None:
        self.icmp.append((local, remote, message))


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
        attachment.drive(greeter, Noted())
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


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_only_tcp_to_our_ports_comes_through_the_filter(family: int) -> None:
    loopback = "127.0.0.1" if family == socket.AF_INET else "::1"
    with loopback_namespace() as fd, inside(fd):
        port = PacketPort("lo", [(7001, 7001), (7010, 7020)])
        try:
            seen = []
            for number in (7000, 7001, 7002, 7009, 7010, 7015, 7020, 7021):
                with socket.socket(family, socket.SOCK_STREAM) as client:
                    assert client.connect_ex((loopback, number)) != 0
                with socket.socket(family, socket.SOCK_DGRAM) as datagram:
                    datagram.sendto(b"", (loopback, 7001))
                if any(frame_is_tcp(frame) for frame in frames(port)):
                    seen.append(number)
        finally:
            port.close()
    assert seen == [7001, 7010, 7015, 7020]


def frames(port: PacketPort) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(port.receive(65536))
        except BlockingIOError:
            return found


def frame_is_tcp(frame: bytes) -> bool:
    """The others are the kernel's ICMP about datagrams to a closed port."""
    return frame[24 + (9 if frame[24] >> 4 == 4 else 6)] == socket.IPPROTO_TCP


def test_an_address_that_goes_and_a_new_interface_are_told() -> None:
    noted = Noted()
    seen = noted.addresses
    with Lab(2) as lab, attached(lab, lab.a, family=4) as (attachment, _):
        assert [socket.inet_ntoa(address) for address in attachment.addresses] == ["10.77.1.1", "10.77.2.1"]
        attachment.drive(Greeter(), noted)
        lab.run(lab.a, "ip", "address", "del", "10.77.1.1/24", "dev", "eth1")
        run_until(attachment, lambda: len(seen) == 1)
        lab.run(lab.a, "ip", "link", "set", "dev", "eth2", "down")
        run_until(attachment, lambda: len(seen) == 2)
        lab.run(lab.a, "ip", "link", "set", "dev", "eth2", "up")
        run_until(attachment, lambda: len(seen) == 3)
        lab.run(lab.a, "ip", "address", "add", "10.77.1.9/24", "dev", "eth1")
        run_until(attachment, lambda: len(seen) == 4)
    assert seen == [("10.77.1.1", False), ("10.77.2.1", False), ("10.77.2.1", True), ("10.77.1.9", True)]


def test_an_interface_that_is_removed_under_its_neighbours_notices_does_no_harm() -> None:
    """Notices about the neighbours come before the one about the interface, which is gone already."""
    local = socket.inet_aton("10.9.0.1")
    with Lab(1) as lab, attached(lab, lab.a, family=4) as (attachment, _), lab.inside(lab.a):
        noted = Noted()
        attachment.drive(Greeter(), noted)
        for time_ in range(10):
            commands = (
                "ip link add name gone0 type veth peer name gone1; ip address add 10.9.0.1/24 dev gone0;"
                "ip link set gone0 up; ip link set gone1 up"
            )
            lab.run(lab.a, "sh", "-c", commands)
            run_until(attachment, lambda: attachment.can_reach(local, bytes((10, 9, 0, 2))))
            assert all(attachment.can_reach(local, bytes((10, 9, 0, last))) for last in range(2, 60))
            lab.run(lab.a, "sh", "-c", ("ip link set gone0 down;" if time_ % 2 else "") + "ip link del gone0")
            run_until(attachment, lambda: local not in attachment.addresses)
            assert noted.addresses[2 * time_ :] == [("10.9.0.1", True), ("10.9.0.1", False)]


def test_a_neighbour_on_an_interface_that_has_gone_is_not_resolved() -> None:
    gone = NextHop(9999, socket.inet_aton("10.9.0.2"))
    with Lab(1) as lab, lab.inside(lab.a):
        tables = KernelTables()
        try:
            assert tables.hardware_address(gone) is None
            tables.resolve(gone)
        finally:
            tables.close()


def test_an_interface_that_goes_while_we_attach_to_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = "ip link add name new0 type veth peer name new1; ip address add 10.9.0.1/24 dev new0;"
    commands += "ip link set new0 up; ip link set new1 up"

    def gone(name: str, ports: object) -> PacketPort:
        raise AttachError(19, f"interface {name}: cannot attach: No such device")

    with Lab(1) as lab, attached(lab, lab.a, family=4) as (attachment, _):
        attachment.drive(Greeter(), Noted())
        monkeypatch.setattr("testbed.endpoint.attached.driver.PacketPort", gone)
        lab.run(lab.a, "sh", "-c", commands)
        run_until(attachment, lambda: socket.inet_aton("10.9.0.1") in attachment.addresses)
        assert not attachment.can_reach(socket.inet_aton("10.9.0.1"), socket.inet_aton("10.9.0.2"))


class StuckPort:
    """An interface whose socket takes nothing any more."""

    def __init__(self, port: PacketPort) -> None:
        self.index, self.name, self.fileno = port.index, port.name, port.fileno

    def send_parts(self, frame: object) -> int:
        raise BlockingIOError


def test_frames_for_an_interface_that_takes_none_do_not_fill_the_memory() -> None:
    greeter = Greeter()
    here, there = (SocketAddress(socket.inet_aton(host), PORT) for host in ("10.77.1.1", "10.77.1.2"))
    with Lab(1) as lab, attached(lab, lab.a, family=4) as (attachment, _):
        attachment.drive(greeter, Noted())
        way = attachment._ways.find(here.host, there.host)
        assert way.port is not None
        way.port, way.ethernet = StuckPort(way.port), bytes(14)  # type: ignore[assignment]
        greeter.queue = [Segment(here, there, ISN, 1, ACK, 65535) for _ in range(BLOCKED_LIMIT + 7)]
        attachment.flush()
        assert [len(blocked) for blocked in attachment._blocked.values()] == [BLOCKED_LIMIT]
        assert attachment.statistics.send_errors == 7


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


@pytest.mark.parametrize("family", [4, 6])
def test_a_router_that_finds_a_segment_too_big_is_heard(family: int) -> None:
    noted = Noted()
    with Lab(1) as lab, bridged(lab), attached(lab, lab.a, listen_ports=[PORT]) as (attachment, _):
        attachment.drive(Greeter(), noted)
        with lab.inside(lab.b):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sock.bind(("eth1", 0))
        sock.send(too_big(family))
        run_until(attachment, lambda: noted.icmp)
        sock.close()
    ((local, remote, message),) = noted.icmp
    assert (local.port, remote.port) == (PORT, 4321)
    assert (message.kind, message.quoted_seq, message.mtu) == (IcmpKind.TOO_BIG, 77, 1400)


def too_big(family: int) -> bytes:
    """A frame with an ICMP error about a segment of ours."""
    hosts = ("10.77.1.1", "10.77.1.2") if family == 4 else ("fd77:1::1", "fd77:1::2")
    us, them = (socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, host) for host in hosts)
    quoted = encode(Segment(SocketAddress(us, PORT), SocketAddress(them, 4321), 77, 0, ACK, 1000))[:60]
    if family == 4:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + quoted
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, socket.IPPROTO_ICMP, 0, them, us)
        checksum = 0xFFFF - int.from_bytes(header, "big") % 0xFFFF
        header = header[:10] + checksum.to_bytes(2, "big") + header[12:]
    else:
        body = struct.pack("!BBHI", 2, 0, 0, 1400) + quoted
        header = struct.pack("!IHBB16s16s", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 64, them, us)
    return b"\xff" * 6 + b"\x02" + bytes(5) + (b"\x08\x00" if family == 4 else b"\x86\xdd") + header + body


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
