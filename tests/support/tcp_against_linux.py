"""Our TCP against this kernel's, over a TUN interface in a network namespace of its own: the child of a test.

unshare -n python tcp_against_linux.py '{"role": "client", ...}'    prints what happened as JSON
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from testbed.tcp.connection import Connection
from testbed.tcp.counters import Counters
from testbed.tcp.fast_open import FastOpen
from testbed.tcp.parameters import Parameters
from testbed.tcp.state import State
from testbed.wire.codec import decode, encode
from testbed.wire.segment import ACK, SYN, Segment, SocketAddress

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001
TCP_FASTOPEN = 23
MSG_FASTOPEN = 0x20000000
DEADLINE_S = 30.0


def open_tun() -> int:
    """A TUN interface with an IPv4 and an IPv6 network on it; the first address of each is the kernel's."""
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"tun-test", IFF_TUN_NO_PI))
    for command in (
        "ip link set lo up",
        "ip link set tun-test up",
        "ip addr add 10.9.0.1/24 dev tun-test",
        "ip -6 addr add fd00::1/64 dev tun-test nodad",
    ):
        subprocess.run(command.split(), check=True)
    Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("3")
    Path("/proc/sys/net/ipv4/tcp_ecn").write_text("1")
    return tun


class Kernel(threading.Thread):
    """The other end: sends its data, half-closes, reads to the end."""

    def __init__(self, case: dict[str, Any], data: bytes, host: str, peer: str, port: int) -> None:
        super().__init__(daemon=True)
        self.data = data
        self.received = b""
        self.error = ""
        self.fast_open = bool(case.get("fast_open"))
        self.target = (peer, port)
        family = socket.AF_INET6 if case.get("v6") else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.listens = case["role"] == "client"
        if self.listens:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self.fast_open:
                self.socket.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 16)
            self.socket.bind((host, port))
            self.socket.listen(1)

    def run(self) -> None:
        """Until both directions have ended."""
        try:
            rest = self.data
            if self.listens:
                connection, _ = self.socket.accept()
            else:
                connection = self.socket
                if self.fast_open:
                    rest = rest[connection.sendto(rest[:1000], MSG_FASTOPEN, self.target) :]
                else:
                    connection.connect(self.target)
            reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
            reader.start()
            connection.sendall(rest)
            connection.shutdown(socket.SHUT_WR)
            reader.join()
            connection.close()
        except OSError as error:
            self.error = repr(error)
        self.socket.close()

    def _read(self, connection: socket.socket) -> None:
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
        self.received = b"".join(pieces)


class Ours:
    """Our end: one connection and the TUN interface."""

    def __init__(self, tun: int, case: dict[str, Any], data: bytes, host_table: FastOpen, number: int) -> None:
        self.tun = tun
        self.parameters = Parameters(**case.get("parameters", {}))
        self.loss = float(case.get("loss", 0.0))
        self.rng = random.Random(case.get("seed", 1) + number)
        self.data = data
        self.sent = 0
        self.received = bytearray()
        self.connection: Connection | None = None
        self.fast_open = host_table

    def make(self, local: SocketAddress, remote: SocketAddress) -> Connection:
        """A connection of ours."""
        self.connection = Connection(
            local,
            remote,
            self.parameters,
            self.rng,
            isn=self.rng.getrandbits(32),
            counters=Counters(),
            fast_open=self.fast_open,
        )
        return self.connection

    def feed(self, connection: Connection, now: int) -> None:
        """The application: writes all, closes, reads."""
        if connection.state < State.FIN_WAIT_1 or connection.state is State.CLOSE_WAIT:
            if self.sent < len(self.data):
                self.sent += connection.send(self.data[self.sent : self.sent + 65536], now)
            elif connection.fin_offset < 0 and connection.state >= State.ESTABLISHED:
                connection.close(now)
        while data := connection.receive(1 << 20):
            self.received += data
        while connection.next_event() is not None:
            pass

    def flush(self, connection: Connection, now: int) -> None:
        """What is to leave, leaves, or is lost."""
        while segments := connection.segments_to_send(now):
            for segment in segments:
                if self.rng.random() >= self.loss:
                    os.write(self.tun, encode(segment))

    def arrived(self, segment: Segment, now: int) -> None:
        """A segment from the kernel."""
        if self.rng.random() < self.loss:
            return
        if self.connection is None:
            if segment.flags & (SYN | ACK) == SYN:
                self.make(segment.destination, segment.source).accept_syn(segment, now)
        elif segment.source == self.connection.remote and segment.destination == self.connection.local:
            self.connection.segment_arrives(segment, now)

    def run(self) -> None:
        """Until the connection is over, or far too long."""
        start = time.monotonic()
        while time.monotonic() - start < DEADLINE_S:
            now = time.monotonic_ns()
            connection = self.connection
            wait = 0.1
            if connection is not None:
                due = connection.next_timeout()
                if due is not None and due <= now:
                    connection.handle_timeout(now)
                self.feed(connection, now)
                self.flush(connection, now)
                if connection.state is State.CLOSED or connection.state is State.TIME_WAIT:
                    return
                due = connection.next_timeout()
                wait = 0.005 if due is None else min(0.005, max(0.0, (due - now) / 1e9))
            if select.select([self.tun], [], [], wait)[0]:
                self.read()

    def read(self) -> None:
        """A batch of packets."""
        for _ in range(64):
            try:
                packet = os.read(self.tun, 65536)
            except BlockingIOError:
                return
            if packet[6 if packet[0] >> 4 == 6 else 9] == socket.IPPROTO_TCP:
                self.arrived(decode(packet), time.monotonic_ns())


def run_case(tun: int, case: dict[str, Any], table: FastOpen, number: int) -> dict[str, Any]:
    """One connection with data both ways; what each side got."""
    octets = case.get("octets", 300_000)
    up, down = random.Random(number).randbytes(octets), random.Random(number + 1).randbytes(octets // 2)
    v6 = bool(case.get("v6"))
    host, peer = ("fd00::1", "fd00::2") if v6 else ("10.9.0.1", "10.9.0.2")
    family = socket.AF_INET6 if v6 else socket.AF_INET
    port = 5000 + number
    kernel = Kernel(case, down, host, peer, port)
    ours = Ours(tun, case, up, table, number)
    kernel.start()
    if case["role"] == "client":
        local = SocketAddress(socket.inet_pton(family, peer), 40000 + number)
        connection = ours.make(local, SocketAddress(socket.inet_pton(family, host), port))
        ours.feed(connection, time.monotonic_ns())
        connection.open(time.monotonic_ns())
    ours.run()
    kernel.join(5)
    connection_now = ours.connection
    assert connection_now is not None
    return {
        "kernel got everything": kernel.received == up,
        "we got everything": bytes(ours.received) == down,
        "error": kernel.error,
        "state": connection_now.state.name,
        "fast_open": connection_now.fast_open.syn_data,
        "ecn": connection_now.ecn.on,
        "timestamps": connection_now.timestamps_on,
        "sack": connection_now.sack_on,
        "counters": connection_now.counters.as_dict(),
    }


def main() -> None:
    """Cases on the command line as JSON, results on stdout."""
    tun = open_tun()
    table = FastOpen(b"secret of this host" * 2)
    results = [run_case(tun, case, table, number) for number, case in enumerate(json.loads(sys.argv[1]))]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
