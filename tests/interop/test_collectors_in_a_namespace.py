"""Collectors against the real kernel, in a namespace of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from endpoint_pair import loopback_namespace

from testbed.orchestrator import process
from testbed.orchestrator.collectors.capture import CaptureCollector
from testbed.orchestrator.collectors.counters import CounterCollector
from testbed.orchestrator.collectors.kernel_log import KernelLogCollector
from testbed.orchestrator.collectors.qdisc import QdiscCollector
from testbed.orchestrator.errors import CommandFailed
from testbed.orchestrator.namespaces import inside
from testbed.orchestrator.process import Process

pytestmark = pytest.mark.needs_root


@pytest.fixture
def namespace() -> Iterator[int]:
    with loopback_namespace() as fd:
        yield fd


class Node:
    """A lab of one node."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def inside(self, _node: str) -> AbstractContextManager[None]:
        return inside(self._fd)

    def start(self, node: str, argv: Sequence[str | Path]) -> Process:
        return process.start(argv, node=node, namespace_fd=self._fd)

    def connect_and_send(self, port_of: socket.socket) -> None:
        """One connection with one segment of data, over loopback."""
        with self.inside("n"), socket.create_connection(port_of.getsockname()) as client:
            client.send(b"x")
            accepted, _ = port_of.accept()
            assert accepted.recv(1) == b"x"
            accepted.close()

    def listener(self) -> socket.socket:
        with self.inside("n"):
            return socket.create_server(("127.0.0.1", 0))


def test_only_what_happened_in_the_namespace_meanwhile_is_counted(namespace: int) -> None:
    node = Node(namespace)
    with node.listener() as listener:
        node.connect_and_send(listener)
        collector = CounterCollector(["n"], node.inside)
        collector.start(0)
        for _ in range(3):
            node.connect_and_send(listener)
        rows = {row.counter: row for row in collector.stop()}
    opens = rows["TcpActiveOpens"]
    assert (opens.host, opens.before, opens.after) == ("n", 1, 4)
    assert "MPTcpExtMPCapableSYNRX" in rows
    assert "Ip6InReceives" in rows


def test_a_capture_that_cannot_start_says_why(namespace: int, tmp_path: Path) -> None:
    collector = CaptureCollector([("n", "nosuch0")], tmp_path, Node(namespace).start)
    with pytest.raises(CommandFailed, match="nosuch0"):
        collector.start(0)
    collector.close()


def test_queueing_disciplines_are_counted(namespace: int) -> None:
    process.run(
        ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "100mbit", "burst", "128kb", "latency", "50ms"],
        namespace_fd=namespace,
    )
    node = Node(namespace)
    collector = QdiscCollector(["n"], node.start)
    collector.start(0)
    with node.listener() as listener:
        node.connect_and_send(listener)
    moved = {row.counter: (row.after or 0) - (row.before or 0) for row in collector.stop()}
    (packets,) = [value for name, value in moved.items() if name.startswith("qdisc.lo.tbf.") and ".packets" in name]
    assert packets >= 7


def test_the_kernel_log_has_what_was_logged_meanwhile() -> None:
    collector = KernelLogCollector()
    collector.start(0)
    if collector.reason:
        pytest.skip(collector.reason)
    mark = f"testbed test {os.getpid()}"
    with Path("/dev/kmsg").open("w") as log:
        log.write(f"<6>{mark}\n")
    messages = [message for message in collector.stop() if mark in message.text]
    assert [message.level for message in messages] == [6]
