"""Every option policy between two of our stacks, two-way over two lossy paths: all bytes arrive, and the ledger shows
what the policy is for."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from two_hosts import MS, SECOND, Path, TwoHosts

from testbed.mptcp.ledger import COLUMNS
from testbed.mptcp.profiles import PROFILES, profile

OCTETS = 250_000
LATE = ("late-map", "map-on-pure-ack")
NAMES = [name for name, _, _ in COLUMNS]


def two_way(
    sender: str,
    receiver: str | None = None,
    *,
    seed: int = 1,
    paths: int = 2,
    loss: float = 0.02,
    checksum: bool = False,
) -> tuple[TwoHosts, list[dict[str, Any]], bool]:
    """The hosts afterwards, the ledger of both ends, and whether all bytes arrived at both."""
    parameters = dataclasses.replace(
        profile(sender, receiver), path_manager="signal", record_ledger=True, checksum=checksum
    )
    lines = [Path(delay_ns=(10 + 5 * n) * MS, rate_bits=20_000_000, loss=loss) for n in range(paths)]
    hosts = TwoHosts(parameters, paths=lines, seed=seed)
    ends = hosts.connect()
    data = random.Random(seed).randbytes(OCTETS)
    sent, received = [0, 0], [bytearray(), bytearray()]
    end = hosts.now + 120 * SECOND
    while any(len(each) < OCTETS for each in received):
        for n, each in enumerate(ends):
            while sent[n] < OCTETS and (taken := each.send(data[sent[n] : sent[n] + 65536], hosts.now)):
                sent[n] += taken
            while piece := each.receive(1 << 20):
                received[n] += piece
        if not hosts.step(end):
            break
    rows = [dict(zip(NAMES, row, strict=True)) for each in ends if each.ledger is not None for row in each.ledger.rows]
    assert all(data.startswith(bytes(each)) for each in received), "never a wrong byte"
    return hosts, rows, all(len(each) == OCTETS for each in received)


def displacement(rows: list[dict[str, Any]], segment: str | None = None) -> float:
    """Share of the SACK blocks wanted that did not leave."""
    chosen = [row for row in rows if segment in (None, row["segment"])]
    wanted = sum(row["sack_wanted"] for row in chosen)
    return 1 - sum(row["sack_sent"] for row in chosen) / wanted


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", PROFILES)
def test_every_policy_delivers_without_fallback_or_reset(name: str, seed: int) -> None:
    hosts, rows, complete = two_way(name, seed=seed, checksum=seed == 2)

    assert complete
    for stack in (hosts.client, hosts.server):
        for counter in ("MPRstTx", "MPFailTx", "DssFallback", "DSSNoMatchTCP", "DSSNotMatching", "DataCsumErr"):
            assert stack.counters[f"MPTcpExt{counter}"] == 0, counter
    assert {row["subflow"] for row in rows} == {0, 1}


def test_the_classes_account_for_every_displaced_block() -> None:
    _, rows, _ = two_way("linux")

    for row in rows:
        classes = sum(row[f"sack_{name}"] for name in ("padding", "width", "policy", "hard"))
        assert row["sack_wanted"] - row["sack_sent"] == classes
        assert row["option_octets"] + row["free_octets"] == 40
        assert (row["sack_wanted"] > row["sack_sent"]) or row["sack_blame"] == ""


def test_linux_data_segments_displace_every_block_dense_32_lets_them_out() -> None:
    _, linux, _ = two_way("linux")
    _, dense, _ = two_way("dense-32")

    full = [row for row in linux if row["segment"] == "data" and "dss:26" in row["sent"]]
    assert displacement(full) == 1.0
    assert displacement(dense) < 0.3 < displacement(linux)


@pytest.mark.parametrize("name", ["thin-maps", "rfc2018", "split-segment", "drop-timestamps"])
def test_what_makes_room_displaces_less_than_linux(name: str) -> None:
    rates = {
        each: [displacement(two_way(each, seed=seed)[1], "data") for seed in (1, 2, 3)] for each in ("linux", name)
    }

    assert sum(rates[name]) < 0.8 * sum(rates["linux"])


def test_thin_mappings_are_on_few_segments() -> None:
    _, rows, _ = two_way("thin-maps", loss=0.0)

    data = [row for row in rows if row["segment"] == "data"]
    assert sum(row["mapping"] == "declared" for row in data) > 0.5 * len(data)
    assert {row["mapping"] for row in data} <= {"own", "repeated", "declared"}


@pytest.mark.parametrize("name", LATE)
def test_a_linux_receiver_falls_back_when_data_goes_ahead_of_its_mapping(name: str) -> None:
    hosts, _, complete = two_way(name, "linux", paths=1)

    assert complete
    assert hosts.client.counters["MPTcpExtDssFallback"] + hosts.server.counters["MPTcpExtDssFallback"] >= 1


def test_the_letter_resets_when_a_mapping_does_not_touch_its_segment() -> None:
    hosts, _, complete = two_way("late-map", "rfc8684", paths=1)

    assert not complete
    assert hosts.client.counters["MPTcpExtDSSNoMatchTCP"] + hosts.server.counters["MPTcpExtDSSNoMatchTCP"] >= 1
    assert hosts.client.counters["MPTcpExtMPRstTx"] + hosts.server.counters["MPTcpExtMPRstTx"] >= 1


def test_the_letter_takes_a_mapping_on_a_pure_ack() -> None:
    _, _, complete = two_way("map-on-pure-ack", "rfc8684", loss=0.0)

    assert complete


def test_mappings_on_pure_acks_leave_again_until_they_are_echoed() -> None:
    hosts, rows, complete = two_way("map-echoed", loss=0.05)

    assert complete
    for stack, peer in ((hosts.client, hosts.server), (hosts.server, hosts.client)):
        assert stack.counters["TestbedMappingsAnnouncedAgain"] > 0  # ACKs are lost, too
        assert 0 < stack.counters["TestbedMapEchoRx"] <= peer.counters["TestbedMapEchoTx"]
    first = [row for row in rows if row["segment"] == "data" and not row["retransmission"]]
    assert sum(row["mapping"] == "declared" for row in first) > 0.9 * len(first)


def test_a_port_that_is_announced_takes_the_further_subflow() -> None:
    parameters = dataclasses.replace(profile("linux"), path_manager="signal", announced_port=5999)
    hosts = TwoHosts(parameters, paths=[Path(delay_ns=10 * MS, rate_bits=20_000_000) for _ in range(2)])
    ends = hosts.connect()
    ends[0].send(bytes(10_000), hosts.now)
    end = hosts.now + SECOND
    while hosts.step(end):
        pass

    assert hosts.client.counters["MPTcpExtPortAdd"] == 1
    assert hosts.server.counters["MPTcpExtMPJoinPortSynRx"] == 1
    assert hosts.server.counters["MPTcpExtMPJoinAckRx"] == 1
