"""The kernel's counters of each host: MPTcpExt*, TcpExt*, Tcp*, Ip*, Ip6*, before and after the traffic.

Read from /proc/net/{netstat,snmp,snmp6} inside the namespace (so without nstat, whose history is shared by all
namespaces of a user); names are nstat's. Which counters there are is discovered, never looked up by version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.orchestrator.collectors.base import CounterRow, Inside

GROUPS = ("MPTcpExt", "TcpExt", "Tcp", "Ip", "IpExt")
"""Groups of netstat and snmp that are kept; of snmp6 all of ``Ip6``."""

_PROC = Path("/proc/thread-self/net")
"""/proc/net is the namespace of the process's first thread; this one is that of the thread which reads."""


class CounterCollector:
    """Reads the counters of some hosts twice."""

    def __init__(self, hosts: Sequence[str], inside: Inside) -> None:
        self._hosts = tuple(hosts)
        self._inside = inside
        self._before: Mapping[str, Mapping[str, int]] = {}

    def start(self, _t0_ns: int) -> None:
        """Before the traffic."""
        self._before = self._read()

    def stop(self) -> list[CounterRow]:
        """After it: all counters of all hosts, also those that did not move."""
        rows = []
        for host, after in self._read().items():
            before = self._before.get(host, {})
            rows += [
                CounterRow(host, name, before.get(name), after.get(name))
                for name in sorted(before.keys() | after.keys())
            ]
        return rows

    def _read(self) -> Mapping[str, Mapping[str, int]]:
        counters = {}
        for host in self._hosts:
            with self._inside(host):
                counters[host] = read_counters()
        return counters


def read_counters() -> dict[str, int]:
    """All counters of the calling thread's network namespace, by nstat's names."""
    counters: dict[str, int] = {}
    for name in ("netstat", "snmp"):
        counters |= paired_lines((_PROC / name).read_text())
    snmp6 = _PROC / "snmp6"
    if snmp6.exists():  # not there without IPv6
        counters |= named_lines(snmp6.read_text())
    return counters


def paired_lines(text: str) -> dict[str, int]:
    """``Tcp: A B`` followed by ``Tcp: 1 2``, as in netstat and snmp -> ``{"TcpA": 1, "TcpB": 2}``."""
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *words = names.split()
        same, *numbers = values.split()
        if group != same or len(words) != len(numbers):
            raise ValueError(f"counters of {group!r} are followed by values of {same!r} of another number")
        if group.removesuffix(":") in GROUPS:
            counters |= {group.removesuffix(":") + word: int(n) for word, n in zip(words, numbers, strict=True)}
    return counters


def named_lines(text: str) -> dict[str, int]:
    """``Ip6InReceives 7`` on each line, as in snmp6 -> ``{"Ip6InReceives": 7}``."""
    pairs = (line.split() for line in text.splitlines())
    return {name: int(value) for name, value in pairs if name.startswith("Ip6")}
