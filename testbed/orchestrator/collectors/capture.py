"""Headers of all packets at interfaces of a lab, as pcap files with ns time stamps, by tcpdump(1).

Snaplen 160: Ethernet, IPv6, and TCP with all its options fit; payload does not. A capture that lost packets says so in
its result (tcpdump's own count), because its absence of a packet then proves nothing. Immediate mode, because otherwise
packets come in blocks, up to a second late, and a signal to tcpdump (libpcap 1.10.3) delays them further.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.orchestrator.collectors.base import StartProgram
from testbed.orchestrator.errors import CommandFailed
from testbed.orchestrator.process import Process
from testbed.orchestrator.readiness import wait_until

SNAPLEN_BYTES = 160
BUFFER_KIB = 16384
"""Of the kernel, per interface: over a second of 64-byte packets at 100 Mbit/s while tcpdump does not get to run."""
DEADLINE_S = 10.0

_INTERIM = re.compile(r"(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped by kernel")
_COUNT = re.compile(r"^(\d+) packets? (captured|dropped by kernel)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Capture:
    """A finished capture."""

    node: str
    interface: str
    path: Path
    packets: int
    dropped: int
    """Packets that arrived at the interface but are not in the file."""


class CaptureCollector:
    """tcpdump at each (node, interface), into a file of ``directory`` each."""

    def __init__(
        self, interfaces: Sequence[tuple[str, str]], directory: Path, start: StartProgram, expression: str = ""
    ) -> None:
        self._interfaces = tuple(interfaces)
        self._directory = directory
        self._start = start
        self._expression = expression
        self._running: list[tuple[str, str, Path, Process]] = []

    def start(self, _t0_ns: int) -> None:
        """Returns when every tcpdump listens. Raises CommandFailed when one ends instead, with its message."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for node, interface in self._interfaces:
            path = self._directory / file_name(node, interface)
            process = self._start(node, command(interface, path, self._expression))
            self._running.append((node, interface, path, process))
        for _, interface, _, process in self._running:
            _await_readiness(process, interface)

    def close(self) -> None:
        """End all of them without a result, for when there will be none."""
        while self._running:
            self._running.pop()[-1].stop()

    def stop(self) -> list[Capture]:
        """End all of them; what has passed the interfaces by now is in the files.

        tcpdump leaves what it has not read yet when it is ended: the end of every connection could be missing. So it
        is ended when its counts show that it has everything that had passed by now.
        """
        due = [_received(process) for _, _, _, process in self._running]
        for (_, interface, _, process), packets in zip(self._running, due, strict=True):
            _await_packets(process, interface, packets)
        for _, _, _, process in self._running:
            process.send_signal(signal.SIGINT)
        captures = []
        for node, interface, path, process in self._running:
            process.wait(DEADLINE_S)
            captured, dropped = counts(process.stderr)
            captures.append(Capture(node, interface, path, captured, dropped))
            process.stop()
        self._running.clear()
        return captures


def command(interface: str, path: Path, expression: str = "") -> list[str]:
    """The words of one tcpdump; it stays root because the run directory belongs to root."""
    words = ["tcpdump", "-i", interface, "-n", "-s", str(SNAPLEN_BYTES), "-B", str(BUFFER_KIB)]
    words += ["--immediate-mode", "--time-stamp-precision=nano", "-Z", "root", "-w", str(path)]
    return [*words, expression] if expression else words


def file_name(node: str, interface: str) -> str:
    """``client-eth0.pcap``; the node's name is put in front of an interface that does not begin with it."""
    return f"{interface}.pcap" if interface.startswith(f"{node}-") else f"{node}-{interface}.pcap"


def counts(stderr: str) -> tuple[int, int]:
    """(captured, dropped by kernel) from tcpdump's last words. Raises ValueError, quoting them, when they lack it."""
    found = {what: int(number) for number, what in _COUNT.findall(stderr)}
    if set(found) != {"captured", "dropped by kernel"}:
        raise ValueError(f"tcpdump ended without its counts, saying: {stderr.strip()!r}")
    return found["captured"], found["dropped by kernel"]


def _received(process: Process) -> int:
    """Packets that the kernel has taken for this tcpdump, told on request (SIGUSR1)."""
    known = len(_INTERIM.findall(process.stderr))
    process.send_signal(signal.SIGUSR1)
    answers = wait_until(
        lambda: _INTERIM.findall(process.stderr)[known:], DEADLINE_S, "tcpdump's counts", seen=lambda: process.stderr
    )
    return int(answers[-1][1])


def _await_packets(process: Process, interface: str, packets: int) -> None:
    def all_there() -> bool:
        process.send_signal(signal.SIGUSR1)
        captured, _, dropped = (int(number) for number in _INTERIM.findall(process.stderr)[-1])
        return captured + dropped >= packets

    wait_until(all_there, DEADLINE_S, f"tcpdump to write {packets} packets of {interface}", seen=lambda: process.stderr)


def _await_readiness(process: Process, interface: str) -> None:
    def listens() -> bool:
        code = process.exit_code
        if code is not None:
            raise CommandFailed(process.argv, code, process.stderr, process.node)
        return "listening on" in process.stderr

    wait_until(listens, DEADLINE_S, f"tcpdump to listen on {interface}", seen=lambda: process.stderr)
