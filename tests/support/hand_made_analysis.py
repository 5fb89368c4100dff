"""A directory as ``testbed analyze`` leaves it, made by hand: every number in it is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.capture.layout_counts import LAYOUTS
from analysis.capture.packet_tables import PACKETS
from analysis.capture.tables import CONNECTIONS, SERIES, SUBFLOWS
from analysis.report.capture_directory import FORMAT, MANIFEST
from testbed.record.parquet import arrow_table, to_parquet
from testbed.record.schema import Table

START = 1_700_000_000_000_000_000
MS = 1_000_000
IDSN = 0xFFFF_FFFF_FFFF_0000
"""The DSNs of the transfer wrap."""
SEGMENT = 1400
SEGMENTS = 900
ENDS = (("10.0.1.1:4000", "10.0.2.1:80"), ("10.0.3.1:4001", "10.0.4.1:80"), ("10.0.1.1:5000", "10.0.2.1:22"))


def row(table: Table, **values: Any) -> dict[str, Any]:
    """A row with these values, null where it may be, otherwise 0, empty, false."""
    empty = {"text": "", "bool": False, "float64": 0.0}
    full = {
        column.name: None if column.nullable else (column.choices or (empty.get(column.type, 0),))[0]
        for column in table.columns
    }
    unknown = set(values) - set(full)
    assert not unknown, f"{table.name} has no {unknown}"
    return full | values


def make(
    directory: Path, *, warnings: Sequence[str] = (), contention: bool = True, tables: Mapping[str, Any] | None = None
) -> Path:
    """Two subflows of one MPTCP connection, 900 segments to the server with 18 repeats, and a small TCP connection."""
    directory.mkdir(parents=True)
    made: dict[str, tuple[Table, list[dict[str, Any]]]] = {
        "connections": (CONNECTIONS, _connections()),
        "subflows": (SUBFLOWS, _subflows()),
        "series": (SERIES, _series()),
        "layouts": (LAYOUTS, _layouts()),
        "packets": (PACKETS, _packets()),
    }
    for name, (table, rows) in made.items():
        (directory / f"{name}.parquet").write_bytes(to_parquet(arrow_table(table, rows)))
    counts = {
        "packets": 1000, "tcp": 990, "not_tcp": {"ARP": 10}, "truncated": 0, "incomplete": 0, "fragments": 0,
        "first_time_ns": START, "last_time_ns": START + 1000 * MS,
    }  # fmt: skip
    manifest = {
        "format": FORMAT,
        "files": [{"name": "made.pcap", "counts": counts}],
        "at": "opener",
        "others": [],
        "warnings": list(warnings),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory


def _connections() -> list[dict[str, Any]]:
    times = {"first_ns": START, "last_ns": START + 1000 * MS}
    common = {"connection": 0, "mptcp": True, "version": 1, "subflows": 2, **times}
    plain = {"connection": 1, "mptcp": False, "subflows": 1, **times}
    there = {
        "goodput_octets": SEGMENTS * SEGMENT, "goodput_bit_s": 10_080_000.0, "retransmitted_octets": 10 * SEGMENT,
        "reinjected_octets": 8 * SEGMENT, "out_of_order_segments": 7, "head_of_line_p95_ns": 31 * MS,
    }  # fmt: skip
    rows = []
    for direction in (0, 1):
        for values, ends in ((common, ENDS[0]), (plain, ENDS[2])):
            source, destination = ends if not direction else ends[::-1]
            one = {**values, "direction": direction, "source": source, "destination": destination}
            if values is common:
                one |= {"idsn": IDSN, **(there if not direction else {})}
            elif direction:
                one |= {"goodput_octets": 5000, "goodput_bit_s": 40_000.0}
            rows.append(row(CONNECTIONS, **one))
    return rows


def _subflows() -> list[dict[str, Any]]:
    rows = []
    for subflow, (source, destination) in enumerate(ENDS):
        for direction in (0, 1):
            one = {
                "connection": subflow // 2, "subflow": subflow, "direction": direction,
                "how": ("initial", "join", "tcp")[subflow], "first_ns": START, "last_ns": START + 1000 * MS,
                "source": (source, destination)[direction], "destination": (destination, source)[direction],
                "packets": 459, "payload_octets": 459 * SEGMENT * (1 - direction), "mss": 1460,
                "rtt_min_ns": 20 * MS, "rtt_p95_ns": 45 * MS, "header_tax": 0.0286 if not direction else None,
            }  # fmt: skip
            rows.append(row(SUBFLOWS, **one))
    return rows


def _series() -> list[dict[str, Any]]:
    return [
        row(
            SERIES, connection=0, subflow=subflow, direction=0, time_ns=START + 50 * MS * number, bin_ns=50 * MS,
            payload_octets=23 * SEGMENT, new_octets=22 * SEGMENT, retransmitted_octets=SEGMENT,
        )
        for subflow in (0, 1)
        for number in range(20)
        if (subflow, number) != (1, 7)
    ]  # fmt: skip


def _layouts() -> list[dict[str, Any]]:
    data, ack = "nop nop timestamps:10 dss:26(A8M8) nop nop", "nop nop timestamps:10 nop nop sack:10 dss:12(A8)"
    return [
        row(
            LAYOUTS, connection=0, subflow=subflow, direction=direction, segment=segment, layout=layout,
            segments=450, option_octets=40 if segment == "data" else 36, padding_octets=4,
        )
        for subflow in (0, 1)
        for direction, segment, layout in ((0, "data", data), (1, "ack", ack))
    ]  # fmt: skip


def _packets() -> list[dict[str, Any]]:
    rows = []
    for number in range(SEGMENTS):
        rows.append(_data(number, number % 2, number, ""))
        if number % 50 == 49:
            kind = "retransmission" if number % 100 == 49 else "reinjection"
            rows.append(_data(number, number % 2 if kind == "retransmission" else 1 - number % 2, number - 20, kind))
        if number % 3 == 0:
            acknowledged = (IDSN + 1 + SEGMENT * max(0, number - 30)) % 2**64
            time_ns = START + number * MS + MS // 2
            back = {"connection": 0, "subflow": number % 2, "direction": 1, "time_ns": time_ns, "payload": 0}
            rows.append(row(PACKETS, **back, acknowledged=acknowledged, repeat=""))
    return rows


def _data(number: int, subflow: int, segment: int, repeat: str) -> dict[str, Any]:
    return row(
        PACKETS, frame=number + 1, connection=0, subflow=subflow, direction=0, time_ns=START + number * MS,
        payload=SEGMENT, position=(IDSN + 1 + SEGMENT * segment) % 2**64, repeat=repeat,
    )  # fmt: skip
