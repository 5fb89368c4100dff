"""What is measured of a capture against those who know: the applications that sent the data, the kernels' counters,
and, octet by octet, tshark's fields."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import capture_lab
import dsn_oracle
import pytest
import tshark
from capture_lab import Transfer, lossy_scenario
from userspace_lab import MS, SECOND

from analysis.capture.analysis import CaptureAnalysis, analyze
from testbed.endpoint.parameters import Endpoint, ShortFlows
from testbed.orchestrator.spec import PathManager
from topologies.link_profile import Change, LinkProfile, QueueLimit, RandomLoss

pytestmark = [pytest.mark.needs_root, pytest.mark.needs_mptcp]
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (apt install tshark)")
PORT = 5001
OPTIONS = (
    "MP_CAPABLE",
    "MP_JOIN",
    "DSS",
    "ADD_ADDR",
    "REMOVE_ADDR",
    "MP_PRIO",
    "MP_FAIL",
    "MP_FASTCLOSE",
    "MP_TCPRST",
)
"""By subtype."""
Row = dict[str, Any]


@functools.cache
def reinjecting_transfer() -> Transfer:
    """A slow path with long delay beside a fast one, which fails for a second with its queue full: the kernels
    reinject what was on it, and it retransmits the same when it is back."""
    near = LinkProfile(
        rate_bit_s=40_000_000, queue=QueueLimit(packets=200), delay_ns=8 * MS, loss=RandomLoss(probability=0.005)
    )
    far = LinkProfile(
        rate_bit_s=8_000_000, queue=QueueLimit(packets=400), delay_ns=60 * MS, loss=RandomLoss(probability=0.02)
    )
    scenario = lossy_scenario(size=6_000_000, paths=(near, far), seed=3)
    outage = (Change(at_ns=900 * MS, down=True), Change(at_ns=1900 * MS, down=False))
    scenario = dataclasses.replace(scenario, changes={"path2": outage})
    return capture_lab.transfer(scenario, capture_lab.scratch(), hosts=("client", "server"))


TRANSFERS: Mapping[str, Callable[[], Transfer]] = {
    "v4": lambda: capture_lab.lossy_transfer(4),
    "v6": lambda: capture_lab.lossy_transfer(6),
    "checksums-and-signals": capture_lab.eventful_transfer,
    "reinjections": reinjecting_transfer,
}


@functools.cache
def capture_of(name: str, host: str) -> Path:
    return TRANSFERS[name]().merged(host, capture_lab.scratch() / f"{name}-{host}.pcap")


@functools.cache
def analysis_of(name: str, host: str) -> CaptureAnalysis:
    return analysis_of_file(capture_of(name, host))


def analysis_of_file(path: Path) -> CaptureAnalysis:
    analysis = analyze(path)
    analysis.capture.close()
    return analysis


def connections(analysis: CaptureAnalysis) -> list[Row]:
    rows: list[Row] = analysis.tables["connections"].to_pylist()
    return rows


def subflows(analysis: CaptureAnalysis) -> list[Row]:
    rows: list[Row] = analysis.tables["subflows"].to_pylist()
    return rows


HOSTS = [(name, host) for name in TRANSFERS for host in ("client", "server") if name != "checksums-and-signals"]
HOSTS.append(("checksums-and-signals", "client"))


@pytest.mark.parametrize(("name", "host"), HOSTS)
def test_goodput_is_what_the_applications_sent_to_the_byte(name: str, host: str) -> None:
    """At the sender's tap everything is seen that left; at the receiver's all that arrived, which is as much."""
    made = TRANSFERS[name]()
    forth, back = connections(analysis_of(name, host))
    assert (forth["direction"], back["direction"]) == (0, 1)
    assert forth["goodput_octets"] == made.client.bytes_sent == made.server.bytes_received > 1_000_000
    assert back["goodput_octets"] == made.server.bytes_sent == made.client.bytes_received > 1_000_000
    for row in (forth, back):
        assert row["acked_octets"] == row["goodput_octets"]
        assert row["unmapped_octets"] == 0
        assert row["subflows"] == 2
        assert row["inferred"] == row["fallback"] == ""
        parts = [each for each in subflows(analysis_of(name, host)) if each["direction"] == row["direction"]]
        assert sum(each["goodput_octets"] for each in parts) == row["goodput_octets"]
    assert analysis_of(name, host).warnings == []


@pytest.mark.parametrize(("name", "host"), HOSTS)
def test_retransmissions_are_those_that_the_kernel_counted(name: str, host: str) -> None:
    """Where they are defined alike: at the sender's own tap, one segment for each packet, none missed by the capture.
    TcpRetransSegs counts every segment that leaves again (tcp_output.c, __tcp_retransmit_skb), SYN and FIN, too."""
    made = TRANSFERS[name]()
    assert made.dropped == 0
    direction = 0 if host == "client" else 1
    rows = [row for row in subflows(analysis_of(name, host)) if row["direction"] == direction]
    repeated = sum(row["retransmitted_segments"] + max(0, row["syns"] - 1) + max(0, row["fins"] - 1) for row in rows)
    assert repeated == made.kernel[host]["TcpRetransSegs"] > 0


@needs_tshark
@pytest.mark.parametrize(("name", "host"), HOSTS)
def test_repetitions_octet_by_octet(name: str, host: str) -> None:
    """Interval arithmetic against marking every octet. The first data of a connection, on MP_CAPABLE, has no DSN on
    the wire: it is not in what is marked."""
    rows = connections(analysis_of(name, host))
    first = analysis_of(name, host).tables["mptcp_events"].column("data_length").to_pylist()
    without_dsn = max((length for length in first if length is not None), default=0)
    for row, truth in zip(rows, dsn_oracle.directions(capture_of(name, host), PORT), strict=True):
        unmarked = without_dsn if row["direction"] == 0 else 0
        assert row["goodput_octets"] == truth.union_octets + unmarked
        assert row["reinjected_segments"] == len(truth.overlapping)
        assert row["reinjected_octets"] == truth.reinjected_octets
        assert row["retransmitted_segments"] == len(truth.retransmitted)


@needs_tshark
@pytest.mark.parametrize("host", ["client", "server"])
def test_reinjections_are_those_of_tshark(host: str) -> None:
    """Every frame that tshark calls a reinjection is one. tshark (4.0.17) does not find all: its tree of intervals
    loses some, so that it says nothing of frames whose DSNs, as it prints them itself, another subflow had sent."""
    path = capture_of("reinjections", host)
    truth = set[int]().union(*(each.overlapping for each in dsn_oracle.directions(path, PORT)))
    theirs = dsn_oracle.reinjections_by_tshark(path)
    assert theirs <= truth
    assert len(theirs) > 0.7 * len(truth) > 20
    ours = sum(row["reinjected_segments"] for row in connections(analysis_of("reinjections", host)))
    assert ours == len(truth)


@needs_tshark
@pytest.mark.parametrize("name", ["v4", "v6"])
def test_what_tshark_calls_a_reinjection_is_one_of_ours(name: str) -> None:
    """How many there are is the kernel's affair, and how many of them tshark finds follows from that."""
    path = capture_of(name, "client")
    truth = set[int]().union(*(each.overlapping for each in dsn_oracle.directions(path, PORT)))
    assert dsn_oracle.reinjections_by_tshark(path) <= truth
    assert sum(row["reinjected_segments"] for row in connections(analysis_of(name, "client"))) == len(truth)


@needs_tshark
def test_subflows_are_joined_into_connections_as_tshark_joins_them(tmp_path: Path) -> None:
    """Three at a time, twenty in all, of two subflows each or, when they end before, of one."""
    application = ShortFlows(size_bytes=150_000, count=20, concurrency=3, direction="upload")
    scenario = dataclasses.replace(lossy_scenario(seed=5), application=application, duration_ns=8 * SECOND)
    made = capture_lab.transfer(scenario, tmp_path, whole=False)
    path = made.merged("client", tmp_path / "many.pcap")
    analysis = analysis_of_file(path)
    joined = {row["subflow"]: row["connection"] for row in subflows(analysis)}
    theirs = dsn_oracle.streams_by_tshark(path)
    assert set(theirs) <= set(joined)
    groups: dict[int, set[int]] = {}
    for stream, number in theirs.items():
        groups.setdefault(number, set()).add(joined[stream])
    assert all(len(ours) == 1 for ours in groups.values())
    assert len(groups) == len({next(iter(ours)) for ours in groups.values()}) == 20
    sent = [row["goodput_octets"] for row in connections(analysis) if row["direction"] == 0]
    assert sent == [150_000] * 20
    assert any(row["subflows"] == 2 for row in connections(analysis))
    assert made.client.bytes_sent == sum(sent)


def test_plain_tcp_is_measured_alike(tmp_path: Path) -> None:
    plain = Endpoint(implementation="linux-tcp")
    scenario = dataclasses.replace(
        lossy_scenario(size=3_000_000, seed=9), client=plain, server=plain, path_manager=PathManager(mode="none")
    )
    made = capture_lab.transfer(scenario, tmp_path)
    analysis = analysis_of_file(made.merged("client", tmp_path / "plain.pcap"))
    forth, back = connections(analysis)
    assert not forth["mptcp"]
    assert forth["goodput_octets"] == made.client.bytes_sent
    assert back["goodput_octets"] == made.server.bytes_sent
    assert forth["reinjected_segments"] == back["reinjected_segments"] == 0
    assert forth["retransmitted_segments"] == made.kernel["client"]["TcpRetransSegs"]


@needs_tshark
@pytest.mark.parametrize("name", ["v4", "v6"])
def test_a_capture_that_begins_in_the_middle_is_joined_by_its_numbers_and_says_so(name: str, tmp_path: Path) -> None:
    whole = capture_of(name, "client")
    path = capture_lab.cut(whole, tmp_path / "middle.pcap", 3000, 8000)
    analysis = analysis_of_file(path)
    forth, back = connections(analysis)
    assert forth["inferred"] != "" and forth["mptcp"]
    assert forth["subflows"] == 2
    by_source = {row["source"]: row for row in (forth, back)}
    for truth, port_is_listener in zip(dsn_oracle.directions(path, PORT), (False, True), strict=True):
        (row,) = [row for source, row in by_source.items() if source.endswith(f":{PORT}") == port_is_listener]
        assert row["goodput_octets"] == truth.union_octets
        assert row["reinjected_segments"] == len(truth.overlapping)
        assert row["retransmitted_segments"] == len(truth.retransmitted)


@needs_tshark
def test_rare_options_are_events_with_the_values_of_tshark() -> None:
    """Signals of two kernels: one row for each, in order, with its values."""
    path = capture_of("checksums-and-signals", "client")
    events = analysis_of("checksums-and-signals", "client").tables["mptcp_events"].to_pylist()
    m = "tcp.options.mptcp."
    columns = {"sendkey": "sender_key", "recvtok": "token", "sendrand": "nonce", "ipv4": "address"}
    names = ["frame.number", f"{m}subtype", f"{m}addrid", *(m + name for name in columns)]
    theirs = list(tshark.rows_of_tcp(tshark.fields(path, names, f"{m}subtype")))
    expected = [
        (int(row["frame.number"]), OPTIONS[int(subtype)])
        for row in theirs
        for subtype in row[f"{m}subtype"].split(",")
        if subtype != "2"
    ]
    assert [(row["frame"], row["option"]) for row in events] == expected
    by_frame = {int(row["frame.number"]): row for row in theirs}
    for row in events:
        reference = by_frame[row["frame"]]
        for name, column in columns.items():
            assert ("" if row[column] is None else str(row[column])) == reference[m + name]
        assert (row["address_ids"] or "").replace(" ", ",") == reference[f"{m}addrid"]
    assert {"ADD_ADDR", "REMOVE_ADDR", "MP_PRIO", "MP_JOIN", "MP_CAPABLE"} <= {row["option"] for row in events}
