"""Drives a stack on the interfaces of this network namespace: frames, timers, addresses that come and go.

One thread and one :class:`~testbed.endpoint.loop.Loop`, whose waits are exact to some 40 us with the timer slack that
:func:`become_punctual` asks for. The kernel keeps its addresses, routes and neighbours, and its hands off our ports.
"""

from __future__ import annotations

import ctypes
import functools
import os
import random
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from testbed.endpoint.attached.capture import CaptureFiles
from testbed.endpoint.attached.frames import frame_of, segment_of
from testbed.endpoint.attached.icmp import icmp_of
from testbed.endpoint.attached.interfaces import NEIGHBOUR_NOTICES, NOTICE_GROUPS, Interface, KernelTables
from testbed.endpoint.attached.netlink import NETLINK_ROUTE, Netlink
from testbed.endpoint.attached.packet_port import LARGEST_FRAME_BYTES, AttachError, PacketPort
from testbed.endpoint.attached.port_filter import PortRange
from testbed.endpoint.attached.ports import HeldPorts, hold_client_ports
from testbed.endpoint.attached.quiet import KernelKeptQuiet
from testbed.endpoint.attached.ways import WAITING_LIMIT, Way, Ways
from testbed.endpoint.loop import Loop, Timer
from testbed.tcp.icmp import Icmp
from testbed.wire.errors import ChecksumError, DecodeError
from testbed.wire.segment import Segment, SocketAddress

READS_PER_TURN = 16
"""Frames read from one interface before what they have caused is sent."""
BLOCKED_LIMIT = 4096
"""Frames that wait for an interface whose socket takes no more; further ones are lost, as in any queue."""
SUPER_SEGMENT_OCTETS = 64_000
"""Payload of a super-segment: with all headers below the 64 KiB of an IPv4 packet."""

_PR_SET_TIMERSLACK = 29


class Driven(Protocol):
    """A stack, or a stack with its applications."""

    def segment_arrives(self, segment: Segment, now: int) -> None:
        """A segment for this host."""

    def segments_to_send(self, now: int) -> list[Segment]:
        """Everything that may leave now."""

    def next_timeout(self) -> int | None:
        """When :meth:`handle_timeout` is due."""

    def handle_timeout(self, now: int) -> None:
        """Whatever is due."""


class Control(Protocol):
    """The stack, for what is not a segment."""

    def add_address(self, address: bytes, now: int) -> None:
        """An address of this host has come up."""

    def remove_address(self, address: bytes, now: int) -> None:
        """An address of this host has gone."""

    def icmp_arrives(self, local: SocketAddress, remote: SocketAddress, message: Icmp, now: int) -> None:
        """An ICMP error that quotes a segment from ``local`` to ``remote``."""


class Statistics:
    """What the driver has seen; for the summary and for tests."""

    __slots__ = (
        "checksum_errors",
        "frames_in",
        "frames_out",
        "malformed",
        "no_route",
        "send_errors",
        "super_segments_out",
    )

    def __init__(self) -> None:
        self.frames_in = 0
        self.frames_out = 0
        self.super_segments_out = 0
        self.checksum_errors = 0
        self.malformed = 0
        self.no_route = 0
        self.send_errors = 0
        """Frames that the device or its queue refused."""


class Attachment:
    """The interfaces, ports and kernel tables of one endpoint. Made first, since the stack needs its addresses.

    Raises AttachError, QuietError or PortsError, each with one line that says what to do.
    """

    def __init__(
        self,
        loop: Loop,
        rng: random.Random,
        *,
        listen_ports: Sequence[int] = (),
        family: int | None = None,
        interfaces: Sequence[str] | None = None,
        loopback: bool = False,
    ) -> None:
        become_punctual()
        self.loop = loop
        self.statistics = Statistics()
        self._wanted = interfaces
        self._loopback = loopback
        self._family_octets = {4: 4, 6: 16}.get(family or 0)
        self._tables = KernelTables()
        self._notices = Netlink(NETLINK_ROUTE, NOTICE_GROUPS)
        self._held: list[HeldPorts] = []
        self._quiet: KernelKeptQuiet | None = None
        self._ports: dict[int, PacketPort] = {}
        self._blocked: dict[int, deque[tuple[bytes, bytes]]] = {}
        self._ways = Ways(self._tables)
        self._stack: Driven | None = None
        self._timer: Timer | None = None
        self._control: Control | None = None
        self.addresses: tuple[bytes, ...] = ()
        self.capture: CaptureFiles | None = None
        """Where every segment is written to; None: nowhere."""
        try:
            self._held = [HeldPorts(port) for port in listen_ports]
            client = hold_client_ports(rng)
            self._held.append(client)
            self.client_ports = client.range
            self.port_ranges: tuple[PortRange, ...] = tuple(held.range for held in self._held)
            self._quiet = KernelKeptQuiet(f"testbed-endpoint-{os.getpid()}", self.port_ranges)
            self._look()
            if not self._ports:
                raise AttachError(self._why_none())
        except BaseException:
            self.close()
            raise
        self.mtu = min(interface.mtu for interface in self._interfaces if interface.index in self._ports)

    def _why_none(self) -> str:
        if not self._wanted:
            return "no interface with an address is up in this network namespace"
        missing = sorted(set(self._wanted) - {interface.name for interface in self._interfaces})
        if missing:
            return f"there is no interface {', '.join(missing)} in this network namespace"
        return f"no interface with an address is up among {', '.join(self._wanted)}"

    def can_reach(self, local: bytes, remote: bytes) -> bool:
        """Whether the kernel has a route for a packet from ``local`` to ``remote``."""
        return self._ways.can_reach(local, remote)

    def drive(self, stack: Driven, control: Control) -> None:
        """From now on, until :meth:`close`."""
        self._stack = stack
        self._control = control
        self.loop.watch(self._notices.fileno(), self._notice)
        for port in self._ports.values():
            self.loop.watch(port.fileno(), functools.partial(self._readable, port))

    def flush(self) -> None:
        """Send what the stack has to send, and see to its timer. Call after every round of the loop."""
        assert self._stack is not None
        stack = self._stack
        now = self.loop.now_ns()
        while segments := stack.segments_to_send(now):
            for segment in segments:
                self._send(segment)
        due = stack.next_timeout()
        timer = self._timer
        if due is not None and (timer is None or timer.callback is None or due < timer.due_ns):
            if timer is not None:
                timer.cancel()
            self._timer = self.loop.at(due, self._expired)

    def close(self) -> None:
        """Leave the host as it was."""
        if self._timer is not None:
            self._timer.cancel()
        if self._stack is not None:
            self.loop.watch(self._notices.fileno())
        for port in self._ports.values():
            self.loop.watch(port.fileno())
            port.close()
        self._ports.clear()
        for held in self._held:
            held.close()
        if self._quiet is not None:
            self._quiet.close()
        self._notices.close()
        self._tables.close()

    @property
    def dropped(self) -> int:
        """Frames that did not fit into the sockets' buffers."""
        return sum(port.read_statistics() for port in self._ports.values())

    # --- in ---

    def _readable(self, port: PacketPort) -> None:
        assert self._stack is not None
        stack, statistics, receive, now_ns = self._stack, self.statistics, port.receive, self.loop.now_ns
        for _ in range(READS_PER_TURN):
            try:
                frame = receive(LARGEST_FRAME_BYTES)
            except BlockingIOError:
                break
            except OSError:  # the interface went down; a notice tells
                break
            statistics.frames_in += 1
            try:
                segment = segment_of(frame)
            except ChecksumError:
                statistics.checksum_errors += 1
                continue
            except DecodeError:
                self._take_other(frame)
                continue
            if self.capture is not None:
                self.capture.note(port.name, segment)
            stack.segment_arrives(segment, now_ns())

    def _take_other(self, frame: bytes) -> None:
        quoted = icmp_of(frame)
        if quoted is None:
            self.statistics.malformed += 1
        elif self._control is not None:
            self._control.icmp_arrives(*quoted, self.loop.now_ns())

    def _expired(self) -> None:
        self._timer = None
        assert self._stack is not None
        self._stack.handle_timeout(self.loop.now_ns())

    # --- out ---

    def _send(self, segment: Segment) -> None:
        way = self._ways.find(segment.source.host, segment.destination.host)
        port = way.port
        if port is None:
            self.statistics.no_route += 1
            return
        if not way.ethernet:
            if len(way.waiting) < WAITING_LIMIT:
                way.waiting.append(segment)
            return
        if self.capture is not None:
            self.capture.note(port.name, segment)
        frame = frame_of(segment, way.ethernet)
        blocked = self._blocked.get(port.index)
        if blocked is not None:
            if len(blocked) < BLOCKED_LIMIT:
                blocked.append(frame)
            else:
                self.statistics.send_errors += 1
            return
        try:
            port.send_parts(frame)
        except BlockingIOError:
            self._block(port, frame)
            return
        except OSError:  # ENOBUFS: a queue was full; ENETDOWN, ENXIO: the interface went
            self.statistics.send_errors += 1
            return
        self.statistics.frames_out += 1
        if frame[0][1]:
            self.statistics.super_segments_out += 1

    def _block(self, port: PacketPort, frame: tuple[bytes, bytes]) -> None:
        self._blocked[port.index] = deque([frame])
        self.loop.watch(port.fileno(), functools.partial(self._readable, port), functools.partial(self._writable, port))

    def _writable(self, port: PacketPort) -> None:
        waiting = self._blocked[port.index]
        while waiting:
            try:
                port.send_parts(waiting[0])
                self.statistics.frames_out += 1
            except BlockingIOError:
                return
            except OSError:
                self.statistics.send_errors += 1
            waiting.popleft()
        del self._blocked[port.index]
        self.loop.watch(port.fileno(), functools.partial(self._readable, port))
        self.flush()

    def _send_waiting(self, ways: Sequence[Way]) -> None:
        for way in ways:
            waiting, way.waiting = way.waiting, []
            for segment in waiting:
                self._send(segment)

    # --- the host changes ---

    def _notice(self) -> None:
        kinds = {kind for kind, _ in self._notices.messages()}
        if kinds - NEIGHBOUR_NOTICES:
            before = set(self.addresses)
            self._look()
            now = self.loop.now_ns()
            assert self._control is not None
            for address in self.addresses:
                if address not in before:
                    self._control.add_address(address, now)
            for address in sorted(before - set(self.addresses)):
                self._control.remove_address(address, now)
        self._send_waiting(self._ways.neighbours_changed())

    def _look(self) -> None:
        """Interfaces as they are now; attaches to new ones."""
        self._interfaces = [
            interface
            for interface in self._tables.interfaces()
            if (self._loopback if interface.is_loopback else True)
            and (self._wanted is None or interface.name in self._wanted)
        ]
        for interface in self._interfaces:
            if interface.index not in self._ports and interface.is_up and self._usable(interface):
                try:
                    port = PacketPort(interface.name, self.port_ranges)
                except AttachError:
                    if self._stack is None:
                        raise
                    continue  # it went while we looked: the next notice tells
                self._ports[interface.index] = port
                if self._stack is not None:
                    self.loop.watch(port.fileno(), functools.partial(self._readable, port))
        there = {interface.index for interface in self._interfaces}
        for index in [index for index in self._ports if index not in there]:
            port = self._ports.pop(index)
            self._blocked.pop(index, None)
            self.loop.watch(port.fileno())
            port.close()
        self.addresses = tuple(
            address for interface in self._interfaces if interface.is_up for address in self._usable(interface)
        )
        self._ways.renew(self._interfaces, self._ports)

    def _usable(self, interface: Interface) -> list[bytes]:
        octets = self._family_octets
        return [address for address in interface.addresses if octets is None or len(address) == octets]


def become_punctual() -> None:
    """Waits end when they are due: a timer slack of 1 ns (prctl(2)) instead of 50 us."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
