"""Packet-delivery traces: one line per delivery opportunity, its time in milliseconds; mahimahi's format.

Source: mm-link(1) and ``LinkQueue`` (src/frontend/link_queue.cc) of mahimahi (Netravali et al., "Mahimahi: Accurate
Record-and-Replay for HTTP", USENIX ATC 2015; the format is that of Winstein et al., "Stochastic Forecasts Achieve High
Throughput and Low Delay over Cellular Networks", NSDI 2013). As there: times do not decrease, the last one is above
zero and is the length of the trace, an empty line is an error, and after the end it begins anew. What an opportunity
carries is the business of ``testbed.net.opportunities``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from topologies.traces.problem import TraceError

OPPORTUNITY_BYTES = 1504
"""What one opportunity carries: ``LinkQueue::PACKET_SIZE``, a packet of 1500 bytes as a tun device hands it over."""
PACKET_HEADER_BYTES = 4
"""What counts for each IP packet beside its own bytes: the tun device's header (IFF_TUN without IFF_NO_PI)."""
MS_NS = 1_000_000

_TIME = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Opportunities:
    """When a packet of 1500 bytes may be delivered, again and again."""

    times_ns: tuple[int, ...]
    """Of one round, not decreasing."""

    @property
    def period_ns(self) -> int:
        """When the next round begins: the time of the last opportunity."""
        return self.times_ns[-1]


def looks_like(text: str) -> bool:
    """Whether the first line is a bare number, which no header of columns is."""
    return _TIME.fullmatch(text.partition("\n")[0].strip()) is not None


def parse(text: str, name: str) -> Opportunities:
    """The opportunities of a file's text. Raises TraceError with file, line and column."""
    times: list[int] = []
    latest = 0
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        word = line.rstrip("\r")
        where = f"{name}:{number}:1"
        if not word:
            raise TraceError(f"{where}: an empty line; each line is the time of one delivery in whole milliseconds")
        if not _TIME.fullmatch(word):
            raise TraceError(f"{where}: {word[:40]!r} is not a time in whole milliseconds, such as 125")
        time_ms = int(word)
        if time_ms < latest:
            raise TraceError(f"{where}: {time_ms} comes after {latest}; times do not decrease")
        latest = time_ms
        times.append(time_ms * MS_NS)
    if latest == 0:
        raise TraceError(f"{name}:{len(times)}:1: the last time is 0; a trace lasts for some time")
    return Opportunities(tuple(times))
