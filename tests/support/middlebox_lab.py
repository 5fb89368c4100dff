"""Kernels with middleboxes between them, for tests.

The middle node completes the checksums itself, so that the hosts' kernels verify them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from emulation_lab import Lab, RelayProcess, stream

from testbed.emulation.protocol import BoxReport, LinkConfiguration, LinkReport
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.middlebox import parse

MS = 1_000_000
SIZE = 600_000
IPPROTO_MPTCP = 262
LINE = LinkProfile(rate_bit_s=100 * 10**6, queue=QueueLimit(packets=1000), delay_ns=MS)


class Between:
    """Kernels a and b with middleboxes on the first link, or on each."""

    def __init__(self, lab: Lab, texts: tuple[str, ...], line: LinkProfile = LINE) -> None:
        self.lab = lab
        for number in lab.numbers:
            for end in "ab":
                lab.run(lab.m, "ethtool", "-K", f"{end}{number}", "tx", "off")
        self._relay: RelayProcess = lab.relay(
            [
                LinkConfiguration(
                    name=f"path{number}",
                    seed=5,
                    a_interface=f"a{number}",
                    b_interface=f"b{number}",
                    forward=line,
                    backward=line,
                    middleboxes=parse(texts[number - 1] if number <= len(texts) else "none"),
                )
                for number in lab.numbers
            ]
        )
        self._relay.start()

    def report(self, link: int = 1) -> LinkReport:
        """The books of a link."""
        return self._relay.report().link(f"path{link}")

    def box(self, link: int = 1, direction: str = "forward", number: int = 1) -> BoxReport:
        rows = self.report(link).middleboxes
        (row,) = [row for row in rows if (row.direction, row.number) == (direction, number)]
        return row

    def counters(self, host: str) -> dict[str, int]:
        """Of the kernel's network stack; no packet that it has seen had a wrong checksum."""
        lines = self.lab.run(host, "nstat", "-azs").splitlines()
        counted = {line.split()[0]: int(line.split()[1]) for line in lines if not line.startswith("#")}
        assert counted["TcpInCsumErrors"] == 0
        return counted

    def transfer(
        self, protocol: int = socket.IPPROTO_TCP, size: int = SIZE, family: socket.AddressFamily = socket.AF_INET
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Counters of a and b after a transfer, which has to be whole."""
        sent, received = stream(self.lab, size, family, protocol)
        assert received == sent
        return self.counters(self.lab.a), self.counters(self.lab.b)


@contextlib.contextmanager
def between(text: str) -> Iterator[Between]:
    with Lab(1, offloads=False) as lab:
        yield Between(lab, (text,))


@contextlib.contextmanager
def two_paths(*texts: str, line: LinkProfile = LINE) -> Iterator[Between]:
    """MPTCP: the server announces its second address, and the client joins it."""
    with Lab(2, offloads=False) as lab:
        for host in (lab.a, lab.b):
            lab.run(host, "ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")
        lab.run(lab.b, "ip", "mptcp", "endpoint", "add", "10.77.2.2", "dev", "eth2", "signal")
        yield Between(lab, texts, line)
