"""``packets.parquet``: columns as in the batch, null where there is nothing, and the file is whole or absent."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from capture_reference import DENSE, Frame, NotTcp, Row, dissect_frame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_dissection import frames
from wire_values import ONE_OF_EACH

from analysis.capture import packets_file
from analysis.capture.batch import CUT_HEADER, DSS_CHECKSUM
from analysis.capture.packet_tables import PACKETS, REPEATS, STATUS_WORDS
from analysis.capture.packets_file import PacketsFile, Resolved, write_packets
from analysis.capture.reader import CaptureError, open_capture
from testbed.record.errors import RecordError
from testbed.record.parquet import arrow_schema
from testbed.wire import pcap
from testbed.wire.codec import encode
from testbed.wire.segment import Segment, SocketAddress

HERE, THERE = SocketAddress(b"\x0a\0\0\1", 1000), SocketAddress(b"\x0a\0\0\2", 2000)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def write(path: Path, made: list[Frame], link: int) -> Path:
    path.write_bytes(
        pcap.file_header(link) + b"".join(pcap.record(frame.time_ns, frame.data, frame.wire) for frame in made)
    )
    return path


def expected(number: int, frame: Frame, row: Row) -> dict[str, object]:
    """A row of the table, by the reference."""
    whole = not row.status & CUT_HEADER
    sized = whole and row.area_octets + 20 == row.tcp_header_octets
    stamped = "timestamps" in row.found
    mapped = row.dsn_octets > 0
    header = {name: getattr(row, name) if whole else None for name in ("flags", "seq", "window", "tcp_header_octets")}
    return {
        "frame": number,
        "time_ns": frame.time_ns,
        "interface": 0,
        "captured_octets": len(frame.data),
        "wire_octets": frame.wire,
        "source": str(ipaddress.ip_address(row.flow.source)),
        "source_port": row.flow.source_port,
        "destination": str(ipaddress.ip_address(row.flow.destination)),
        "destination_port": row.flow.destination_port,
        "ttl": row.ttl,
        "traffic_class": row.traffic_class,
        **header,
        "ack": row.ack if row.flags & 0x10 else None,
        "payload": row.payload if sized else None,
        "options": row.text,
        "tsval": row.tsval if stamped else None,
        "tsecr": row.tsecr if stamped else None,
        "sack_blocks": row.sack_count,
        "dss_flags": row.dss_bits & 0x1F if row.dss_bits else None,
        "data_ack": row.data_ack if row.data_ack_octets else None,
        "dsn": row.dsn if mapped else None,
        "dss_ssn": row.dss_ssn if mapped else None,
        "dss_length": row.dss_length if mapped else None,
        "dss_checksum": row.dss_checksum if row.dss_bits & DSS_CHECKSUM else None,
        "status": " ".join(word for bit, word in enumerate(STATUS_WORDS) if row.status >> bit & 1),
        **dict.fromkeys(("connection", "subflow", "direction", "ssn", "position", "acknowledged", "repeat")),
    }


@SLOW
@given(st.lists(frames(), min_size=1, max_size=10), st.data())
def test_the_table_says_of_each_packet_what_a_plain_dissection_says(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[Frame], data: st.DataObject
) -> None:
    link = data.draw(st.sampled_from(sorted({frame.link for frame in drawn})))
    drawn = [
        Frame(link, frame.data, max(frame.wire, len(frame.data)), frame.time_ns % (1 << 32) * 10**9)
        for frame in drawn
        if frame.link == link
    ]
    directory = tmp_path_factory.mktemp("packets")
    rows = []
    for number, frame in enumerate(drawn, 1):
        try:
            rows.append(expected(number, frame, dissect_frame(frame)))
        except NotTcp:
            continue
    assert write_packets(write(directory / "any.pcap", drawn, link), directory) == len(rows)
    table = pq.read_table(directory / "packets.parquet")
    assert table.to_pylist() == rows
    assert [path.name for path in directory.glob(".*")] == []


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    packets = [encode(Segment(HERE, THERE, at, 6, 0x18, 7, area, b"data")) for at, area in enumerate(ONE_OF_EACH)]
    return write(
        tmp_path / "each.pcap", [Frame(101, packet, len(packet), at) for at, packet in enumerate(packets)], 101
    )


def test_types_and_nulls_are_as_declared(capture: Path, tmp_path: Path) -> None:
    write_packets(capture, tmp_path)
    schema = pq.read_schema(tmp_path / "packets.parquet")
    assert schema.names == [column.name for column in PACKETS.columns]
    assert schema.equals(arrow_schema(PACKETS, encoded=True))
    assert schema.field("dsn").metadata[b"meaning"]


def test_what_packets_belong_to_is_written_beside_them(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packets_file, "ROWS_IN_GROUP", 10)
    random = np.random.default_rng(4)
    taken = []
    with open_capture(capture) as opened, PacketsFile(tmp_path / "resolved.parquet", opened) as file:
        for _ in range(3):
            for batch in opened.batches():
                rows = len(batch)
                resolved = Resolved(
                    connection=random.integers(-1, 3, rows),
                    subflow=random.integers(-1, 3, rows),
                    direction=random.integers(0, 2, rows),
                    ssn=random.integers(0, 1 << 40, rows),
                    has_ssn=random.random(rows) < 0.5,
                    position=random.integers(0, 1 << 64, rows, dtype=np.uint64),
                    has_position=random.random(rows) < 0.5,
                    acknowledged=random.integers(0, 1 << 64, rows, dtype=np.uint64),
                    has_acknowledged=random.random(rows) < 0.5,
                    repeat=random.integers(0, 3, rows),
                )
                file.take(batch, resolved)
                taken.append(resolved)
    found = pq.read_table(tmp_path / "resolved.parquet").to_pylist()
    at = 0
    for resolved in taken:
        for row in range(len(resolved.subflow)):
            there = resolved.subflow[row] >= 0
            assert {name: found[at][name] for name in ("connection", "subflow", "direction", "repeat")} == {
                "connection": resolved.connection[row] if resolved.connection[row] >= 0 else None,
                "subflow": resolved.subflow[row] if there else None,
                "direction": resolved.direction[row] if there else None,
                "repeat": REPEATS[resolved.repeat[row]] if there else None,
            }
            for name in ("ssn", "position", "acknowledged"):
                value = int(getattr(resolved, name)[row]) if getattr(resolved, f"has_{name}")[row] else None
                assert found[at][name] == value
            at += 1
    assert at == len(found) > 0
    assert pq.ParquetFile(tmp_path / "resolved.parquet").num_row_groups == 3


def test_a_capture_without_tcp_gives_a_table_without_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "arp.pcap", [Frame(1, bytes(12) + b"\x08\x06" + bytes(28), 42)], 1)
    assert write_packets(path, tmp_path) == 0
    assert pq.read_table(tmp_path / "packets.parquet").num_rows == 0


def test_nothing_half_written_is_left(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    with (
        pytest.raises(RuntimeError),
        open_capture(capture) as opened,
        PacketsFile(target / "packets.parquet", opened) as file,
    ):
        file.take(next(opened.batches()))
        raise RuntimeError("in the middle")
    assert list(target.iterdir()) == []
    (tmp_path / "no.pcap").write_bytes(b"no capture at all")
    with pytest.raises(CaptureError):
        write_packets(tmp_path / "no.pcap", target)
    assert list(target.iterdir()) == []


def test_every_column_of_the_batch_has_its_place() -> None:
    kept = {column.name for column in PACKETS.columns}
    elsewhere = {
        "sack_count": "sack_blocks",
        "dss_bits": "dss_flags",
        "dsn_octets": "options",
        "data_ack_octets": "options",
    }
    assert {elsewhere.get(name, name) for name in DENSE} <= kept


def test_a_full_disk_leaves_nothing_and_is_said(capture: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    target = capture.parent / "target"
    target.mkdir()
    with open_capture(capture) as opened:
        file = PacketsFile(target / "packets.parquet", opened)
        for batch in opened.batches():
            file.take(batch)
        # what is written from here on meets a disk without room
        descriptor = os.open(full, os.O_WRONLY)
        for entry in list(Path("/proc/self/fd").iterdir()):
            if os.path.realpath(entry).endswith(".partial"):
                os.dup2(descriptor, int(entry.name))
        os.close(descriptor)
        with pytest.raises(RecordError, match="no space left"):
            file.close()
    assert list(target.iterdir()) == []
