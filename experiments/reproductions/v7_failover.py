"""V7: the blackhole of the SIGCOMM 2020 tutorial: the first path dies silently, the other one is a backup or not.

Two paths of 100 Mbit/s with round trips of 40 and 30 ms; the connection begins on the first, which loses everything
from 3 s on. Requests of 1000 bytes every 250 ms. The tutorial asks 20 times; here 50 times, so that there are enough
answers before and after to tell their times apart.

What one spike is differs: with two equal subflows one request waits for a retransmission timeout. With a backup Linux
tries the dead subflow again until it calls it stale (net.mptcp.stale_loss_cnt, 4 intervals): four requests are late.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, RENO, SECOND, Stack, mptcp
from testbed.orchestrator.spec import Expectation, Experiment, PathManager, RequestResponse, Variant
from topologies.link_profile import Change, LinkProfile, QueueLimit
from topologies.model import Topology
from topologies.two_path import two_path

REQUESTS = RequestResponse(request_bytes=1000, response_bytes=1000, interval_ns=250 * MS, count=50)
BLACKHOLE_NS = 3 * SECOND
FIRST_ROUND_TRIP_NS, SECOND_ROUND_TRIP_NS = 40 * MS, 30 * MS

PAIRS: tuple[tuple[Stack, Stack], ...] = (
    ("userspace", "userspace"),
    ("linux", "linux"),
    ("userspace", "linux"),
    ("linux", "userspace"),
)

MODES: Mapping[str, tuple[tuple[Stack, Stack], ...]] = {"backup": PAIRS, "normal": PAIRS[:2]}
"""What the second path is, and who is asked."""


def network() -> Topology:
    """The tutorial's two paths; the first swallows everything in both directions after 3 s."""
    topology = two_path(
        path1=LinkProfile(rate_bit_s=100 * MBIT, delay_ns=FIRST_ROUND_TRIP_NS // 2, queue=QueueLimit(packets=400)),
        path2=LinkProfile(rate_bit_s=100 * MBIT, delay_ns=SECOND_ROUND_TRIP_NS // 2, queue=QueueLimit(packets=300)),
    )
    return topology.with_link(
        dataclasses.replace(topology.link("path1"), changes=(Change(at_ns=BLACKHOLE_NS, down=True),))
    )


def v7_failover() -> Experiment:
    """Backup or not, each stack with itself and with the other."""
    return Experiment(
        name="v7-failover",
        question="What does a request see when its path dies silently and another one is there?",
        variants=tuple(_variant(mode, pair) for mode, pairs in MODES.items() for pair in pairs),
        repetitions=1,
        duration_ns=16 * SECOND,
        claims=(CLAIMS["V7"],),
        expectations=tuple(_expectations()),
    )


def _variant(mode: str, pair: tuple[Stack, Stack]) -> Variant:
    backup = mode == "backup"
    manager = PathManager(mode="backup", backup_paths=("path2",)) if backup else PathManager(mode="subflow")
    return dataclasses.replace(
        mptcp(
            f"{mode}/{pair[0]}/{pair[1]}",
            f"The path of 30 ms is {'a backup' if backup else 'as good as the other'}; {pair[0]} to {pair[1]}.",
            network(),
            REQUESTS,
            congestion_control=RENO,
            path_manager=manager,
            stacks=pair,
        ),
        only_on="sim" if pair == PAIRS[0] else None,
        factors=(("second path", mode), ("ends", f"{pair[0]}/{pair[1]}")),
    )


def _expectations() -> Iterator[Expectation]:
    for mode, pairs in MODES.items():
        for client, server in pairs:
            name = f"{mode}/{client}/{server}"
            words = f"{client} to {server}, {'with a backup' if mode == 'backup' else 'two equal subflows'}"
            yield Expectation(
                variant=name,
                metric="latency_max_ns",
                at_least=200 * MS,
                at_most=2 * SECOND,
                because="a retransmission timeout (200 ms at least) or two of either end, until the other path is used",
                claim="V7",
                says=f"{words}: the worst request took {{value}}",
            )
            yield Expectation(
                variant=name,
                metric="latency_p50_ns",
                at_least=SECOND_ROUND_TRIP_NS,
                at_most=FIRST_ROUND_TRIP_NS,
                because="most requests come after the blackhole, and take less than the round trip of the dead path",
                claim="V7",
                says=f"{words}: half of the requests took at most {{value}} (other path 30 ms, dead one 40 ms)",
            )
            yield Expectation(
                variant=name,
                metric="operations",
                statistic="min",
                at_least=REQUESTS.count,
                because="the connection lives on: every request is answered",
                claim="V7",
                says=f"{words}: {{value}} of {REQUESTS.count} requests answered",
            )
