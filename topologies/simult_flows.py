"""The network of the Linux selftest ``tools/testing/selftests/net/mptcp/simult_flows.sh``: ns1 =two links= ns2 -- ns3.

The selftest gives netem rate, delay and ``limit`` on both ends of each link. netem's limit counts the packets in the
delay line as well as those that wait; our queue is the waiting room alone, so for one number it holds a little more.
"""

from __future__ import annotations

from collections.abc import Mapping

from topologies.link_profile import LinkProfile, QueueLimit
from topologies.model import Family, Host, Link, Path, Router, Topology, symmetric

_MBIT = 1_000_000
_MS = 1_000_000


def _case(rate1: int, rate2: int, delay1: int, delay2: int, queue1: int, queue2: int) -> Mapping[str, int]:
    return {
        "rate1_bit_s": rate1 * _MBIT,
        "rate2_bit_s": rate2 * _MBIT,
        "delay1_ns": delay1 * _MS,
        "delay2_ns": delay2 * _MS,
        "queue1_packets": queue1,
        "queue2_packets": queue2,
    }


CASES: Mapping[str, Mapping[str, int]] = {
    "balanced": _case(10, 10, 0, 0, 20, 20),
    "balanced_delay": _case(10, 10, 1, 25, 20, 50),
    "unbalanced": _case(10, 3, 0, 0, 30, 20),
    "unbalanced_delay": _case(10, 3, 1, 25, 40, 30),
    "opposed_delay": _case(10, 3, 25, 1, 50, 30),
}
"""The selftest's rows with the queue limits that it has had since 2026, as parameters of :func:`simult_flows`."""


def simult_flows(
    rate1_bit_s: int = 10 * _MBIT,
    rate2_bit_s: int = 10 * _MBIT,
    delay1_ns: int = 0,
    delay2_ns: int = 0,
    queue1_packets: int = 20,
    queue2_packets: int = 20,
    families: tuple[Family, ...] = (4,),
) -> Topology:
    """Two shaped links from the client to one router, one wire to the server with its single address."""
    profiles = (
        LinkProfile(rate_bit_s=rate1_bit_s, delay_ns=delay1_ns, queue=QueueLimit(packets=queue1_packets)),
        LinkProfile(rate_bit_s=rate2_bit_s, delay_ns=delay2_ns, queue=QueueLimit(packets=queue2_packets)),
    )
    return Topology(
        name="simult_flows",
        summary="Two links to one router and one server address, as in the kernel's simult_flows selftest.",
        hosts=(Host("client", "client"), Host("server", "server")),
        routers=(Router("r1"),),
        links=(
            *(symmetric(f"path{i}", "client", "r1", profile) for i, profile in enumerate(profiles, start=1)),
            Link(name="exit", a="r1", b="server"),
        ),
        paths=tuple(Path(f"path{i}", (f"path{i}", "exit")) for i in (1, 2)),
        families=families,
    )
