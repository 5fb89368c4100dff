"""Captures from end to end, without root: our own stacks in virtual time, where the truth is known."""

from __future__ import annotations

import gc
from pathlib import Path

import hand_made_captures as hand_made
import pyarrow.parquet as pq
import pytest
import simulated_capture

from analysis.capture.analysis import analyze, declared
from analysis.capture.errors import CaptureError
from analysis.capture.events import fields
from testbed.record.rows import columns_of


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    return simulated_capture.simulate(5, octets=120_000, loss=0.03).write(tmp_path_factory.mktemp("sim") / "sim.pcap")


def test_goodput_is_what_the_applications_sent(simulated) -> None:
    truth = simulated_capture.simulate(5, octets=120_000, loss=0.03)
    with analyze(simulated) as analysis:
        there, back = analysis.tables["connections"].to_pylist()
        assert (there["goodput_octets"], back["goodput_octets"]) == (truth.upload, truth.download)
        assert (there["acked_octets"], back["acked_octets"]) == (truth.upload, truth.download)
        assert (there["unmapped_octets"], there["inferred"], there["fallback"]) == (0, "", "")
        subflows = analysis.tables["subflows"].to_pylist()
        for connection in (there, back):
            mine = [row for row in subflows if row["direction"] == connection["direction"]]
            for name in ("goodput_octets", "payload_octets", "retransmitted_octets", "reinjected_octets", "packets"):
                assert sum(row[name] for row in mine) == connection[name]
            assert sum(row["mapped_octets"] - row["reinjected_octets"] for row in mine) == connection["goodput_octets"]
        assert sum(row["retransmitted_segments"] for row in subflows) > 0
        series = analysis.tables["series"].to_pylist()
        assert sum(row["new_octets"] for row in series) == truth.upload + truth.download


def test_every_row_is_as_its_table_declares_it(simulated, tmp_path) -> None:
    with analyze(simulated) as analysis:
        paths = analysis.write(tmp_path)
    found = {path.stem for path in paths}
    assert {"connections", "subflows", "series", "mptcp_events", "mappings", "sack", "packets"} <= found
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths}
    for table in declared():
        path = tmp_path / f"{table.name}.parquet"
        if path.exists():
            rows = pq.read_table(path).to_pylist()
            assert rows, table.name
            columns_of(table, rows)


def test_packets_say_their_connection_and_repeats_as_the_sums_do(simulated, tmp_path) -> None:
    with analyze(simulated) as analysis:
        analysis.write(tmp_path)
        subflows = analysis.tables["subflows"].to_pylist()
    packets = pq.read_table(tmp_path / "packets.parquet").to_pylist()
    assert all(packet["subflow"] is not None for packet in packets)
    for row in subflows:
        mine = [p for p in packets if (p["subflow"], p["direction"]) == (row["subflow"], row["direction"])]
        assert len(mine) == row["packets"]
        assert sum(p["repeat"] == "retransmission" for p in mine) == row["retransmitted_segments"]
    data = [packet for packet in packets if packet["payload"]]
    assert all(p["position"] == p["dsn"] + p["ssn"] - p["dss_ssn"] for p in data if p["dss_flags"] and p["dsn"])


def test_the_interfaces_of_a_host_are_one_place(simulated, tmp_path) -> None:
    truth = simulated_capture.simulate(5, octets=120_000, loss=0.03)
    parts: list[list[tuple[int, bytes]]] = [[], []]
    for time_ns, packet in truth.packets:
        parts[packet[14]].append((time_ns, hand_made.ethernet(packet)))
    files = [hand_made.timed_pcap(tmp_path / f"{name}.pcap", frames) for name, frames in zip("ab", parts, strict=True)]
    with analyze(simulated) as whole, analyze(files) as merged:
        assert not merged.others
        for name, table in whole.tables.items():
            numbers = [column for column in ("frame", "first_frame") if column in table.column_names]
            assert merged.tables[name].drop(numbers).equals(table.drop(numbers)), name


def test_a_capture_of_the_same_flows_is_another_place(simulated, tmp_path) -> None:
    truth = simulated_capture.simulate(5, octets=120_000, loss=0.03)
    frames = [(time_ns + 5_000_000, hand_made.ethernet(packet)) for time_ns, packet in truth.packets]
    other = hand_made.timed_pcap(tmp_path / "later.pcap", frames)
    with analyze([simulated, other]) as analysis:
        rows = analysis.tables["one_way"].to_pylist()
        assert [place.source for place in analysis.others] == [str(other)]
        written = analysis.write(tmp_path)
    assert tmp_path / "place-2" / "connections.parquet" in written
    assert sum(row["paired"] for row in rows) == len(truth.packets)
    assert {(row["lost"], row["extra"]) for row in rows} == {(0, 0)}


@pytest.mark.parametrize("content", ["empty", "no tcp"])
def test_what_holds_no_tcp_is_said_in_one_line_and_leaves_nothing_open(content, tmp_path) -> None:
    path = hand_made.pcap(tmp_path / "a.pcap", [] if content == "empty" else [bytes(12) + b"\x08\x06" + bytes(46)])
    with pytest.raises(CaptureError) as said:
        analyze(path)
    assert str(path) in str(said.value) and "\n" not in str(said.value)
    gc.collect()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("1e0831020a000402", {"address_ids": "2", "address": "10.0.4.2", "echo": True}),
        (
            "1e1030020a00040283c356f3245fa38e",
            {"address_ids": "2", "address": "10.0.4.2", "echo": False, "hmac": "83c356f3245fa38e"},
        ),
        (
            "1e1230020a0004021f9083c356f3245fa38e",
            {"address_ids": "2", "address": "10.0.4.2", "port": 8080, "echo": False, "hmac": "83c356f3245fa38e"},
        ),
        ("1e0834050a000402", {"address_ids": "5", "address": "10.0.4.2"}),
        ("1e0a34050a0004021f90", {"address_ids": "5", "address": "10.0.4.2", "port": 8080}),
        ("1e143605" + "fd" + "00" * 14 + "01", {"address_ids": "5", "address": "fd00::1"}),
        ("1e05400102", {"address_ids": "1 2"}),
        ("1e0351", {"backup": True}),
        ("1e045007", {"backup": False, "address_ids": "7"}),
        ("1e0c6000fedcba9876543210", {"dsn": 0xFEDCBA9876543210}),
        ("1e0c7000fedcba9876543210", {"receiver_key": 0xFEDCBA9876543210}),
        ("1e048106", {"transient": True, "reason": 6}),
        ("1e0431020a", {}),
        ("1e02", {}),
    ],
)
def test_signals_are_taken_apart(octets, expected) -> None:
    """RFC 8684 sections 3.4 to 3.7, RFC 6824 section 3.4."""
    assert fields(bytes.fromhex(octets)) == expected
