"""A capture without root: both userspace stacks in virtual time, two paths with loss, every segment where it was sent.

The tap is at both senders, so what a path loses is in the file, and what both applications sent is known.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from pathlib import Path

import hand_made_captures as made
from two_hosts import MS, TwoHosts
from two_hosts import Path as Way

from testbed.mptcp.parameters import Parameters
from testbed.wire.codec import encode


@dataclass(frozen=True, slots=True)
class Simulated:
    """The packets, and the octets that the applications moved in each direction."""

    packets: tuple[tuple[int, bytes], ...]
    """(time in ns, IP packet)."""
    upload: int
    download: int

    def write(self, path: Path, *, nanoseconds: bool = True, snaplen: int = 262144) -> Path:
        """As an Ethernet pcap with the times of the simulation."""
        return made.timed_pcap(
            path,
            ((time_ns, made.ethernet(packet)) for time_ns, packet in self.packets),
            nanoseconds=nanoseconds,
            snaplen=snaplen,
        )


@functools.cache
def simulate(seed: int = 2, octets: int = 60_000, loss: float = 0.03, ipv6: bool = False) -> Simulated:
    """One connection with two subflows, data both ways."""
    ways = [Way(loss=loss, rate_bits=20_000_000), Way(loss=loss, rate_bits=10_000_000, delay_ns=20 * MS)]
    hosts = TwoHosts(Parameters(path_manager="signal"), paths=ways, seed=seed, ipv6=ipv6)
    client, server = hosts.connect()
    upload, download = random.Random(seed).randbytes(octets), random.Random(seed + 1).randbytes(octets // 2)
    sent = {id(client): 0, id(server): 0}
    received = {id(client): b"", id(server): b""}
    ends = ((client, server, upload), (server, client, download))

    def moved() -> bool:
        for sender, receiver, data in ends:
            sent[id(sender)] += sender.send(data[sent[id(sender)] :][:8000], hosts.now)
            while piece := receiver.receive(1 << 20):
                received[id(receiver)] += piece
        return all(received[id(receiver)] == data for _, receiver, data in ends)

    assert hosts.run_until(moved)
    client.close(hosts.now)
    server.close(hosts.now)
    hosts.run(3_000 * MS)
    base = 1_700_000_000 * 1_000_000_000
    packets = tuple((base + line.time, encode(line.segment)) for line in hosts.transcript)
    return Simulated(packets, len(upload), len(download))
