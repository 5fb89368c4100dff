"""Nagle's rule at the data level: when less than a packet leaves (RFC 9293 §3.7.4, with Minshall's rule as TCP)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from two_hosts import SECOND, TwoHosts

from testbed.mptcp.connection import Connection
from testbed.mptcp.parameters import Parameters
from testbed.tcp.parameters import Parameters as TcpParameters


def established(tcp: TcpParameters) -> tuple[TwoHosts, Connection]:
    """Two hosts that have exchanged data, with nothing outstanding, and the client's connection."""
    hosts = TwoHosts(replace(Parameters(), tcp=tcp))
    client, server = hosts.connect()
    assert hosts.transfer(client, server, b"a" * 50_000) == b"a" * 50_000
    hosts.run(SECOND)
    hosts.transcript.clear()
    return hosts, client


def payloads(hosts: TwoHosts) -> list[int]:
    """Lengths of the data that has left since the last look."""
    lengths = [len(segment.payload) for segment in hosts.sent() if segment.payload]
    hosts.transcript.clear()
    return lengths


@pytest.mark.parametrize(("minshall", "tail_leaves"), [(True, True), (False, False)])
def test_the_tail_of_a_large_write_leaves_at_once_as_it_does_of_tcp(minshall: bool, tail_leaves: bool) -> None:
    hosts, client = established(TcpParameters(minshall=minshall))
    client.send(b"b" * 10_000, hosts.now)
    hosts.flush()

    lengths = payloads(hosts)
    assert (sum(lengths) == 10_000) is tail_leaves
    assert set(lengths[:7]) == {max(lengths)}


def test_a_second_small_write_waits_for_the_first_one() -> None:
    hosts, client = established(TcpParameters())
    for _ in range(3):
        client.send(b"c" * 100, hosts.now)
        hosts.flush()
    assert payloads(hosts) == [100]

    hosts.run(SECOND)
    assert payloads(hosts) == [200]
