"""Endpoint processes in a lab with two paths: several subflows, their names, their flags."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from endpoint_pair import RunningEndpoint, StartIn, flow

from testbed.endpoint.parameters import Bulk, Endpoint
from testbed.endpoint.protocol import Configuration
from testbed.orchestrator.backends.base import NetworkSettings, plan_network
from testbed.orchestrator.backends.mininet import MininetLab
from testbed.orchestrator.collectors.capture import CaptureCollector
from testbed.orchestrator.collectors.counters import CounterCollector
from testbed.orchestrator.process import Process
from testbed.orchestrator.spec import PathManager
from testbed.orchestrator.trial_rows import integrity
from topologies.link_profile import LinkProfile
from topologies.two_path import two_path

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]

WIRE = LinkProfile()


@contextmanager
def lab(path_manager: PathManager, family: int = 4) -> Iterator[MininetLab]:
    topology = two_path(WIRE, WIRE, families=(family,))  # type: ignore[arg-type]
    plan = plan_network(topology, NetworkSettings(path_manager=path_manager, offloads="on"))
    with MininetLab(plan, run_id="test-endpoint") as built:
        yield built


@contextmanager
def transfer(built: MininetLab, bulk: Bulk, family: int = 4) -> Iterator[tuple[RunningEndpoint, RunningEndpoint]]:
    # Small buffers: Linux 6.18 may drain what is left when the other stream has ended by one piece each 200 ms only.
    serving = Configuration(
        role="server",
        flow="main",
        family=family,  # type: ignore[arg-type]
        endpoint=Endpoint(send_buffer_bytes=256 * 1024),
        application=bulk,
        duration_ns=10**9,
        drain_ns=20 * 10**9,
        sample_interval_ns=20_000_000,
    )

    def asking(port: int) -> Configuration:
        return dataclasses.replace(
            serving,
            role="client",
            port=port,
            local_address=built.address("client", "access1", family),  # type: ignore[arg-type]
            remote_address=built.address("server", "path1", family),  # type: ignore[arg-type]
        )

    with flow(_start_in(built, "server"), serving, _start_in(built, "client"), asking) as both:
        yield both


@pytest.mark.parametrize("family", [4, 6])
def test_both_ends_see_the_same_subflows_one_per_path(family: int) -> None:
    with (
        lab(PathManager(mode="signal"), family) as built,
        transfer(built, Bulk(direction="both"), family) as (client, server),
    ):
        c, s = client.result(), server.result()
    assert integrity(c, s) == "ok"
    assert c.subflows_seen == s.subflows_seen == 2
    ends = [
        (x.local_address, x.local_port, x.remote_address, x.remote_port)
        for x in sorted(c.subflows, key=lambda subflow: subflow.index)
    ]
    mirrored = [(x.remote_address, x.remote_port, x.local_address, x.local_port) for x in s.subflows]
    assert ends == mirrored
    assert [x[0] for x in ends] == [built.address("client", f"access{n}", family) for n in (1, 2)]  # type: ignore[arg-type]
    assert [x[2] for x in ends] == [built.address("server", f"path{n}", family) for n in (1, 2)]  # type: ignore[arg-type]
    assert [event.index for event in client.subflow_events() if event.change == "added"] == [0, 1]
    assert {row[1] for row in client.rows()} == {"main.client", "main.client.subflow0", "main.client.subflow1"}
    assert all(x.tcp_info["bytes_acked"] for x in c.subflows)
    assert [x.backup for x in c.subflows] == [False, False]


def test_a_backup_subflow_carries_its_flag_at_both_ends() -> None:
    with (
        lab(PathManager(mode="backup", backup_paths=("path2",))) as built,
        transfer(built, Bulk()) as (client, server),
    ):
        flags = [[x.backup for x in running.result().subflows] for running in (client, server)]
    assert flags == [[False, True], [False, True]]


@pytest.mark.parametrize("refusal", ["rejected", "unanswered"])
def test_a_join_that_is_not_taken_is_not_counted_at_either_end(refusal: str) -> None:
    with lab(PathManager(mode="subflow")) as built:
        if refusal == "rejected":
            built.run("server", ["ip", "mptcp", "limits", "set", "subflows", "0"])
        else:
            with built.inside("client"):
                path = built.interface("client", "access2")
            chain = "add table inet box; add chain inet box out { type filter hook output priority 0; };"
            built.run("client", ["nft", f"{chain} add rule inet box out oifname {path} tcp flags syn drop"])
        with transfer(built, Bulk(size_bytes=2_000_000, settle_ns=300_000_000)) as (client, server):
            c, s = client.result(), server.result()
    assert (c.subflows_seen, s.subflows_seen) == (1, 1)
    assert [event.index for event in client.subflow_events() if event.change == "added"] == [0]


def test_counters_and_captures_of_a_transfer_agree_with_it(tmp_path: Path) -> None:
    with lab(PathManager(mode="signal")) as built:
        counters = CounterCollector(("client", "server"), built.inside)
        interfaces = [("client", built.interface("client", f"access{number}")) for number in (1, 2)]
        captures = CaptureCollector(interfaces, tmp_path / "captures", built.start)
        counters.start(0)
        captures.start(0)
        with transfer(built, Bulk(size_bytes=2_000_000)) as (client, server):
            c, s = client.result(), server.result()
        moved = {(row.host, row.counter): (row.after or 0) - (row.before or 0) for row in counters.stop()}
        files = captures.stop()
    assert c.complete
    assert s.complete
    assert moved["client", "MPTcpExtMPCapableSYNTX"] == moved["server", "MPTcpExtMPCapableSYNRX"] == 1
    assert moved["client", "TcpRetransSegs"] == c.retransmits
    for capture in files:
        assert capture.path.parent == tmp_path / "captures"
        assert capture.dropped == 0
        flags = [tcp_flags(packet) for packet in packets(capture.path)]
        assert len(flags) == capture.packets
        if capture is files[0]:  # the other path may carry no data in so short a time
            assert flags[0] == SYN
            assert sum(bool(each & FIN) for each in flags) >= 2  # the very end is there, too


SYN, FIN = 0x02, 0x01
ETHERNET_BYTES = 14


def packets(path: Path) -> list[bytes]:
    """Records of a pcap file with ns time stamps."""
    data = path.read_bytes()
    assert struct.unpack_from("=I", data)[0] == 0xA1B23C4D
    found, offset = [], 24
    while offset < len(data):
        (kept,) = struct.unpack_from("=I", data, offset + 8)
        found.append(data[offset + 16 : offset + 16 + kept])
        offset += 16 + kept
    return found


def tcp_flags(packet: bytes) -> int:
    """Of an IPv4 segment; 0 for anything else."""
    if packet[12:14] != b"\x08\x00" or packet[ETHERNET_BYTES + 9] != 6:
        return 0
    return packet[ETHERNET_BYTES + 4 * (packet[ETHERNET_BYTES] & 15) + 13]


def _start_in(built: MininetLab, node: str) -> StartIn:
    def start(argv: Sequence[str]) -> Process:
        return built.start(node, argv, interactive=True)

    return start
