"""Two hosts and a middle node in network namespaces of their own, and a relay process in the middle.

For tests and benchmarks of the relay: every name carries the process id, :meth:`Lab.close` removes what was made, and
the janitor does when the process is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import netns_janitor

from testbed.emulation.placement import HOSTS_SYSCTL, placement
from testbed.emulation.protocol import (
    REPORT,
    START,
    STOP,
    Configuration,
    Event,
    Failure,
    LinkConfiguration,
    Ready,
    Report,
    Started,
    event_from_line,
)

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = {socket.AF_INET: ("10.77.1.1", "10.77.1.2"), socket.AF_INET6: ("fd77:1::1", "fd77:1::2")}
"""Of both hosts on the first path."""
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

E = TypeVar("E", bound=Event)


class RelayProcess:
    """A relay and the pipe to it."""

    def __init__(self, namespace: str, configuration: Configuration) -> None:
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "testbed.emulation"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._write(configuration.to_line())
        self.ready = self._expect(Ready)

    def start(self) -> Started:
        """Begin the schedules."""
        self._write(_line(START))
        return self._expect(Started)

    def report(self) -> Report:
        """The books so far."""
        self._write(_line(REPORT))
        return self._expect(Report)

    def stop(self) -> Report:
        """The last report; the process has ended."""
        self._write(_line(STOP))
        report = self._expect(Report)
        self.close()
        return report

    def close(self) -> None:
        """End the process by closing its stdin."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait(10)

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def _expect(self, kind: type[E]) -> E:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], 20)
        line = self.process.stdout.readline() if readable else ""
        event = event_from_line(line) if line else Failure("the relay said nothing")
        if not isinstance(event, kind):
            raise RuntimeError(f"relay: {event}")
        return event


class Lab:
    """``links`` links between hosts a and b through m; link i (from 1) has the addresses 10.77.i.1/.2 and
    fd77:i::1/::2."""

    def __init__(self, links: int = 1, offloads: bool = True, mtu: int = 1500) -> None:
        self.numbers = range(1, links + 1)
        self._placement = placement(os.sched_getaffinity(0))
        prefix = f"tbe{os.getpid()}n{next(_numbers)}"
        self.a, self.m, self.b = (f"{prefix}{role}" for role in "amb")
        self._closing = contextlib.ExitStack()
        try:
            for name in (self.a, self.m, self.b):
                netns_janitor.add(name)
                self._closing.callback(netns_janitor.remove, name)
            with self.inside(self.m):
                Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
                Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
            for host in (self.a, self.b):
                with self.inside(host):
                    Path("/proc/sys", HOSTS_SYSCTL.replace(".", "/")).write_text(self._placement.hosts_mask)
            for number in self.numbers:
                self._add_link(number, offloads, mtu)
        except BaseException:
            self._closing.close()
            raise

    def relay(self, links: Sequence[LinkConfiguration], realtime: bool = True) -> RelayProcess:
        """A running relay; it ends with the lab at the latest."""
        configuration = Configuration(links=tuple(links), realtime=realtime, cpu=self._placement.relay_cpu)
        relay = RelayProcess(self.m, configuration)
        self._closing.callback(relay.close)
        return relay

    def popen(self, host: str, *argv: str, **options: Any) -> subprocess.Popen[str]:
        """A process on host a or b."""
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{host}", *argv], text=True, **options)

    def run(self, host: str, *argv: str) -> str:
        """Run a command on host a or b and return what it printed."""
        result = subprocess.run(
            ["nsenter", f"--net=/run/netns/{host}", *argv], text=True, capture_output=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(argv)}: exit {result.returncode}: {result.stdout}{result.stderr}")
        return result.stdout

    @contextlib.contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """What this thread opens in the block is in the namespace of ``host``."""
        with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{host}").open() as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def close(self) -> None:
        """Stop the relays and remove the namespaces."""
        self._closing.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _add_link(self, i: int, offloads: bool, mtu: int) -> None:
        for host, end, interface in ((self.a, 1, f"a{i}"), (self.b, 2, f"b{i}")):
            _ip("link", "add", f"eth{i}", "mtu", str(mtu), "netns", host, "type", "veth",
                "peer", "name", interface, "mtu", str(mtu), "netns", self.m)  # fmt: skip
            _ip("-n", host, "address", "add", f"10.77.{i}.{end}/24", "dev", f"eth{i}")
            _ip("-n", host, "address", "add", f"fd77:{i}::{end}/64", "dev", f"eth{i}", "nodad")
            if not offloads:
                self.run(host, "ethtool", "-K", f"eth{i}", "tso", "off", "gso", "off", "gro", "off")
            _ip("-n", host, "link", "set", "lo", "up")
            _ip("-n", host, "link", "set", f"eth{i}", "up")
            _ip("-n", self.m, "link", "set", interface, "up")
        _wait_for_carrier(self, i)


def _wait_for_carrier(lab: Lab, i: int) -> None:
    deadline = time.monotonic() + 5
    for host in (lab.a, lab.b):
        with lab.inside(host):
            while f"eth{i}\t" not in Path("/proc/thread-self/net/route").read_text():
                if time.monotonic() > deadline:
                    raise RuntimeError(f"eth{i} of {host} did not come up within 5 s")
                time.sleep(0.002)


def _line(command: dict[str, str]) -> str:
    return json.dumps(command) + "\n"


def _ip(*arguments: str) -> None:
    result = subprocess.run(["ip", *arguments], text=True, capture_output=True, check=False)
    if result.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def stream(
    lab: Lab, size: int, family: socket.AddressFamily = socket.AF_INET, protocol: int = socket.IPPROTO_TCP
) -> tuple[str, str]:
    """SHA-256 of what a sent over TCP, or MPTCP, and of what b received."""
    with lab.inside(lab.b):
        listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    listener.bind(("", 7002))  # a subflow may come to another address
    listener.listen()
    received = hashlib.sha256()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1 << 16):
                received.update(data)

    server = threading.Thread(target=serve)
    server.start()
    data = hashlib.shake_128(b"stream").digest(size)
    with lab.inside(lab.a):
        client = socket.socket(family, socket.SOCK_STREAM, protocol)
    client.settimeout(30)
    client.connect((ADDRESSES[family][1], 7002))
    client.sendall(data)
    client.close()
    server.join(30)
    listener.close()
    return hashlib.sha256(data).hexdigest(), received.hexdigest()
