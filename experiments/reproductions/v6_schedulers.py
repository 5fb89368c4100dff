"""V6: the schedulers of the SIGCOMM 2020 tutorial: requests, bulk, and a download with small and large windows.

Requests of 10 KB every 250 ms, 20 times, over 100 Mbit/s with 40 and 80 ms of round trip: 40 to 50 ms with the lowest
RTT first, about 90 ms with round robin. Bulk over twice 20 Mbit/s, 40 ms: twice what TCP has. 10 MB over 20 Mbit/s with
30 and 100 ms, with windows of 300 KB, 1 MB and 8 MB at both ends: small windows stop the fast path while the slow one
is waited for.

Congestion control is named, because a distributor's default may pace (BBR): ten segments then take a round trip more.
"""

from __future__ import annotations

from collections.abc import Iterator

from experiments.claims import CLAIMS
from experiments.ingredients import MBIT, MS, PLAIN, RENO, SECOND, Stack
from testbed.orchestrator.spec import (
    Application,
    Bulk,
    Endpoint,
    Expectation,
    Experiment,
    Flow,
    PathManager,
    RequestResponse,
    Variant,
)
from topologies.link_profile import LinkProfile, QueueLimit
from topologies.model import Topology
from topologies.two_path import two_path

REQUESTS = RequestResponse(request_bytes=10_000, response_bytes=10_000, interval_ns=250 * MS, count=20)
BULK = Bulk(direction="upload")
FILE = Bulk(direction="download", size_bytes=10_000_000)
WINDOWS_BYTES = {"300k": 300_000, "1m": 1_000_000, "8m": 8_000_000}
SCHEDULERS = ("lowest-rtt", "round-robin")


def _paths(rate_bit_s: int, round_trip1_ns: int, round_trip2_ns: int, queues: tuple[int, int]) -> Topology:
    first, second = (
        LinkProfile(rate_bit_s=rate_bit_s, delay_ns=round_trip_ns // 2, queue=QueueLimit(packets=packets))
        for round_trip_ns, packets in zip((round_trip1_ns, round_trip2_ns), queues, strict=True)
    )
    return two_path(path1=first, path2=second)


REQUEST_PATHS = _paths(100 * MBIT, 40 * MS, 80 * MS, (400, 800))
BULK_PATHS = _paths(20 * MBIT, 40 * MS, 40 * MS, (80, 80))
FILE_PATHS = _paths(20 * MBIT, 30 * MS, 100 * MS, (60, 200))
"""Queues of about one BDP and a half: the tutorial's file is not quoted in its text."""


def v6_schedulers() -> Experiment:
    """Both schedulers of our stack, and the kernel, which has lowest RTT alone."""
    return Experiment(
        name="v6-schedulers",
        question="Which scheduler answers sooner, and when does it matter for bulk data?",
        variants=tuple(_variants()),
        repetitions=1,
        duration_ns=8 * SECOND,
        claims=(CLAIMS["V6"],),
        expectations=tuple(_expectations()),
    )


def _variants() -> Iterator[Variant]:
    for scheduler in SCHEDULERS:
        yield _variant(f"requests-{scheduler}", REQUEST_PATHS, REQUESTS, scheduler=scheduler)
        for word, window in WINDOWS_BYTES.items():
            yield _variant(f"file-{word}-{scheduler}", FILE_PATHS, FILE, scheduler=scheduler, window=window)
    yield _variant("requests-tcp", REQUEST_PATHS, REQUESTS, path="path1")
    yield _variant("file-1m-tcp", FILE_PATHS, FILE, path="path1", window=WINDOWS_BYTES["1m"])
    yield _variant("bulk", BULK_PATHS, BULK)
    yield _variant("bulk-tcp", BULK_PATHS, BULK, path="path1")
    yield _variant("requests-linux", REQUEST_PATHS, REQUESTS, stack="linux")


def _variant(
    name: str,
    topology: Topology,
    application: Application,
    *,
    stack: Stack = "userspace",
    scheduler: str | None = None,
    path: str | None = None,
    window: int | None = None,
) -> Variant:
    """Plain TCP over ``path``, or MPTCP over both; ``window`` is that of both buffers of both ends."""
    side = Endpoint(
        implementation=PLAIN[stack] if path else stack,
        congestion_control=RENO,
        scheduler=scheduler,
        send_buffer_bytes=window,
        receive_buffer_bytes=window,
    )
    return Variant(
        name=name,
        summary=f"{name.replace('-', ' ')}.",
        topology=topology,
        flows=(Flow(application=application, client=side, server=side, path=path),),
        path_manager=PathManager(mode="none" if path else "subflow"),
        only_on="sim" if stack == "userspace" and not name.startswith("requests") else None,
    )


def _expectations() -> Iterator[Expectation]:
    for name, low_ms, high_ms, because in (
        ("requests-lowest-rtt", 40, 50, "all of it goes the way of 40 ms"),
        ("requests-round-robin", 75, 100, "a part of each request or answer goes the way of 80 ms"),
        ("requests-tcp", 40, 50, "the way of 40 ms alone"),
        ("requests-linux", 40, 60, "the kernel's scheduler takes the way that delivers sooner"),
    ):
        yield Expectation(
            variant=name,
            metric="latency_p50_ns",
            at_least=low_ms * MS,
            at_most=high_ms * MS,
            because=because,
            claim="V6" if name != "requests-tcp" else None,
            says=f"{name.replace('requests-', '')}: {{value}} for half of the requests",
        )
    yield _goodput(
        "bulk", "bulk-tcp", 1.8, 2.1, "two equal paths", "bulk over both paths has {value} what TCP has on one"
    )
    yield _goodput(
        "file-300k-lowest-rtt",
        "file-8m-lowest-rtt",
        0.0,
        0.7,
        "the window is full of what is under way on the slow path",
        "10 MB with windows of 300 kB have {value:%} of the goodput that windows of 8 MB give",
    )
    yield _goodput(
        "file-1m-lowest-rtt",
        "file-8m-lowest-rtt",
        0.7,
        0.95,
        "1 MB is about the bandwidth-delay product of both with their queues",
        "10 MB with windows of 1 MB have {value:%} of it",
    )
    yield _goodput(
        "file-8m-round-robin",
        "file-8m-lowest-rtt",
        0.95,
        1.05,
        "with both congestion windows full the scheduler has no choice",
        "10 MB with windows of 8 MB and round robin have {value:%} of what lowest RTT has",
    )


def _goodput(variant: str, other: str, at_least: float, at_most: float, because: str, says: str) -> Expectation:
    return Expectation(
        variant=variant,
        metric="goodput_bit_s",
        relative_to=(other,),
        at_least=at_least,
        at_most=at_most,
        because=because,
        claim="V6",
        says=says,
    )
