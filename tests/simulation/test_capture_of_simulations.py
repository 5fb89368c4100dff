"""Captures of our own stacks in virtual time against what the stacks themselves counted."""

from __future__ import annotations

import random
from pathlib import Path

import hand_made_captures as hand_made
import pytest
from two_hosts import MS, TwoHosts
from two_hosts import Path as Way

from analysis.capture.analysis import analyze
from testbed.mptcp.parameters import Parameters
from testbed.wire.codec import encode

BASE = 1_700_000_000 * 1_000_000_000


def transfer(seed: int, ways: list[Way], octets: int, outage: tuple[int, int] | None = None) -> TwoHosts:
    """The client sends; the second way may fail for a while."""
    hosts = TwoHosts(Parameters(path_manager="signal"), paths=ways, seed=seed)
    client, server = hosts.connect()
    data = random.Random(seed).randbytes(octets)
    sent, received, start = 0, bytearray(), hosts.now

    def moved() -> bool:
        nonlocal sent
        if outage is not None:
            ways[1].is_up = not outage[0] <= hosts.now - start < outage[1]
        sent += client.send(data[sent:][:16_000], hosts.now)
        while piece := server.receive(1 << 20):
            received.extend(piece)
        return len(received) == len(data)

    assert hosts.run_until(moved)
    assert bytes(received) == data
    client.close(hosts.now)
    server.close(hosts.now)
    hosts.run(3000 * MS)
    return hosts


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_repeats_of_a_capture_are_those_that_the_stack_counted(seed, tmp_path: Path) -> None:
    ways = [Way(loss=0.02, rate_bits=20_000_000), Way(loss=0.02, rate_bits=10_000_000, delay_ns=30 * MS)]
    hosts = transfer(seed, ways, 1_200_000, (200 * MS, 1500 * MS))
    frames = [(BASE + line.time, hand_made.ethernet(encode(line.segment))) for line in hosts.transcript]
    with analyze(hand_made.timed_pcap(tmp_path / "sim.pcap", frames)) as analysis:
        there, back = analysis.tables["connections"].to_pylist()
        subflows = [row for row in analysis.tables["subflows"].to_pylist() if row["direction"] == 0]
    assert (there["goodput_octets"], there["acked_octets"], back["goodput_octets"]) == (1_200_000, 1_200_000, 0)
    counted = hosts.client.counters
    # The stack counts repeated SYNs and FINs as well, those without data.
    handshakes = sum(max(row["syns"] - 1, 0) + max(row["fins"] - 1, 0) for row in subflows)
    assert there["retransmitted_segments"] <= counted["TcpRetransSegs"] <= there["retransmitted_segments"] + handshakes
    assert there["retransmitted_segments"] > 0
    # A reinjected mapping leaves as one segment or several, none of them twice what it copies.
    assert there["reinjected_segments"] >= counted["MPTcpExtMPTCPRetrans"] > 0
    assert 0 < there["reinjected_octets"] <= there["payload_octets"] - there["goodput_octets"]
    sent_again = there["payload_octets"] - there["goodput_octets"]
    assert there["retransmitted_octets"] + there["reinjected_octets"] == sent_again
