"""What the schedulers do with a whole connection over two paths."""

from __future__ import annotations

import dataclasses
import random
from typing import NamedTuple

import pytest
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.profiles import PROFILES
from testbed.mptcp.scheduler.catalog import SCHEDULERS

OCTETS = 1_000_000


class Outcome(NamedTuple):
    duration_ns: int
    payload: tuple[int, int]
    """Octets of payload that the client sent over each path."""


def transfer(
    scheduler: str, *, delays: tuple[int, int], buffer: int = 4 << 20, outage_ns: int | None = None
) -> Outcome:
    """Upload over two paths of 10 Mbit/s with short queues; path 0 dies ``outage_ns`` after the start."""
    base = PROFILES["linux"]
    parameters = dataclasses.replace(
        base, scheduler=scheduler, path_manager="signal", send_buffer=buffer, receive_buffer=buffer
    )
    paths = [Path(delay_ns=delay * MS, rate_bits=10_000_000, queue_ns=20 * MS) for delay in delays]
    hosts = TwoHosts(parameters, paths=paths, seed=1)
    client, server = hosts.connect()
    hosts.transfer(client, server, b"a DSS must arrive before subflows are opened (B15)")
    hosts.run(SECOND)
    assert len(client.subflows) == 2
    data = random.Random(1).randbytes(OCTETS)
    began = hosts.now
    before = len(hosts.sent(True))
    if outage_ns is None:
        received = hosts.transfer(client, server, data)
    else:
        received = hosts.transfer(client, server, data, limit_ns=outage_ns)
        assert len(received) < OCTETS, "the path dies in the middle"
        paths[0].is_up = False
        while len(received) < OCTETS and hosts.step(began + 100 * SECOND):
            received += server.receive(OCTETS)
    assert received == data
    payload = [0, 0]
    for segment in hosts.sent(True)[before:]:
        payload[hosts.client_addresses.index(segment.source.host)] += len(segment.payload)
    return Outcome(hosts.now - began, (payload[0], payload[1]))


@pytest.mark.parametrize("scheduler", [name for name in SCHEDULERS if name != "redundant"])
def test_two_equal_paths_are_used_alike(scheduler: str) -> None:
    outcome = transfer(scheduler, delays=(10, 10))

    assert min(outcome.payload) > 0.4 * sum(outcome.payload)
    assert outcome.duration_ns < 0.7 * OCTETS * 8 * SECOND // 10_000_000, "a single path takes 0.8 s and its RTTs"


def test_redundant_carries_everything_on_both() -> None:
    outcome = transfer("redundant", delays=(10, 10))

    assert min(outcome.payload) > 0.9 * OCTETS


@pytest.mark.parametrize("scheduler", ["blest", "ecf"])
def test_a_slow_path_gets_less_than_with_the_lowest_rtt_when_the_window_is_small(scheduler: str) -> None:
    reference = transfer("lowest-rtt", delays=(5, 60), buffer=150_000)
    outcome = transfer(scheduler, delays=(5, 60), buffer=150_000)

    assert outcome.payload[1] < 0.7 * reference.payload[1]
    assert outcome.duration_ns < 1.1 * reference.duration_ns


def test_redundancy_hides_the_death_of_a_path() -> None:
    """What was under way on the dead path is under way on the other: no time-out is waited for."""
    alone = transfer("redundant", delays=(10, 10))
    died = transfer("redundant", delays=(10, 10), outage_ns=300 * MS)

    assert died.duration_ns < alone.duration_ns + 200 * MS
