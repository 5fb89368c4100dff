"""Transfers that are not only mapped data in order: DATA_FIN, fallback, plain TCP, captures that begin later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import made_connection as made
import numpy as np
from made_batches import ACK, FIN, SYN, Made, MadeCapture
from made_connection import ISN, MS, end, handshake

from analysis.capture.long_tables import DsnWidth, MappingRuns
from analysis.capture.measuring import Measures
from analysis.capture.resolution import resolve
from analysis.capture.summary import connection_table, subflow_table

IDSN = made.idsn(made.CLIENT_KEY)
CLIENT, SERVER = end(1, 0), end(2, 0)


def tables(packets: list[Made]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(connections, subflows)."""
    capture = MadeCapture(packets, 7)
    measures = Measures(capture, resolve(capture))
    for batch in capture.batches():
        measures.take(batch)
    measures.finish()
    return connection_table(measures, None).to_pylist(), subflow_table(measures).to_pylist()


def segment(ssn: int, octets: int, dsn: int | None = None, **more: Any) -> Made:
    """Data of the client, with its mapping unless ``dsn`` is None."""
    mapping = None if dsn is None else (IDSN + dsn, ssn, octets)
    return Made(CLIENT, SERVER, 50 * MS + ssn, ISN + ssn, ISN + 8, ACK, octets, mapping=mapping, **more)


def test_a_data_fin_is_no_data_whether_alone_or_with_data() -> None:
    last = replace(segment(101, 50, 101), mapping=(IDSN + 101, 101, 51), data_fin=True)
    alone = replace(segment(151, 0), mapping=(IDSN + 151, 0, 1), data_fin=True)
    answer = Made(SERVER, CLIENT, 90 * MS, ISN + 8, ISN + 151, ACK, data_ack=IDSN + 152)
    connections, subflows = tables([*handshake(0, 0), segment(1, 100, 1), last, alone, answer])
    assert (connections[0]["goodput_octets"], connections[0]["acked_octets"]) == (150, 150)
    assert subflows[0]["acked_octets"] == 150
    before = replace(answer, data_ack=IDSN + 151)
    assert tables([*handshake(0, 0), segment(1, 100, 1), last, before])[0][0]["acked_octets"] == 150


def test_what_follows_an_infinite_mapping_counts() -> None:
    infinite = replace(segment(101, 50), mapping=(IDSN + 101, 101, 0))
    packets = [*handshake(0, 0), segment(1, 100, 1), infinite, segment(151, 70), segment(121, 60)]
    connections, subflows = tables(packets)
    assert connections[0]["fallback"] == "infinite"
    assert (connections[0]["goodput_octets"], connections[0]["unmapped_octets"]) == (220, 0)
    assert (subflows[0]["retransmitted_octets"], subflows[0]["goodput_octets"]) == (60, 220)


def test_data_without_mappings_on_the_only_subflow_are_a_fallback_and_count() -> None:
    packets = [*handshake(0, 0), segment(1, 100, 1), segment(101, 50), segment(121, 60), segment(101, 10)]
    connections, subflows = tables(packets)
    assert (connections[0]["fallback"], connections[0]["mptcp"]) == ("unmapped", True)
    assert (connections[0]["goodput_octets"], connections[0]["unmapped_octets"]) == (180, 80)
    assert connections[0]["acked_octets"] is None
    assert subflows[0]["goodput_octets"] == 180


def test_data_without_mappings_beside_another_subflow_do_not_count() -> None:
    packets = [*handshake(0, 0), *handshake(1, 10 * MS), segment(1, 100, 1), segment(101, 50)]
    connections, _ = tables(packets)
    assert (connections[0]["goodput_octets"], connections[0]["unmapped_octets"]) == (100, 50)
    assert connections[0]["fallback"] == ""


def test_plain_tcp_has_its_sequence_numbers_instead_of_dsns() -> None:
    packets = [
        Made(CLIENT, SERVER, 0, ISN, None, SYN),
        Made(SERVER, CLIENT, 1, 500, ISN + 1, SYN | ACK),
        segment(1, 100),
        segment(201, 100),
        segment(101, 150),
        replace(segment(301, 0), flags=ACK | FIN),
        Made(SERVER, CLIENT, 90 * MS, 501, ISN + 302, ACK),
    ]
    connections, subflows = tables(packets)
    found = connections[0]
    assert (found["mptcp"], found["version"], found["checksum"], found["token"]) == (False, None, None, None)
    assert (found["goodput_octets"], found["acked_octets"], found["unmapped_octets"]) == (300, 300, 0)
    assert (found["retransmitted_octets"], found["out_of_order_segments"]) == (50, 1)
    assert (subflows[0]["sequence_octets"], subflows[0]["fins"], subflows[0]["how"]) == (300, 1, "tcp")


def test_a_syn_with_data_has_its_data_behind_the_syn() -> None:
    packets = [
        Made(CLIENT, SERVER, 0, ISN, None, SYN, 30),
        Made(SERVER, CLIENT, 1, 500, ISN + 31, SYN | ACK),
        segment(1, 30),
        segment(31, 10),
    ]
    connections, subflows = tables(packets)
    assert (connections[0]["goodput_octets"], subflows[0]["retransmitted_octets"]) == (40, 30)


def test_a_capture_that_begins_later_measures_what_it_shows() -> None:
    packets = [segment(5001, 100, 9001), segment(5101, 100, 9101), segment(5101, 100, 9101)]
    packets.append(Made(SERVER, CLIENT, 90 * MS, ISN + 8, ISN + 5201, ACK, data_ack=IDSN + 9201))
    connections, subflows = tables(packets)
    found = connections[0]
    assert (found["goodput_octets"], found["retransmitted_octets"]) == (200, 100)
    assert (found["acked_octets"], found["idsn"], found["version"]) == (None, None, None)
    assert "handshake is not in the capture" in found["inferred"]
    assert subflows[0]["isn"] == ISN  # the mappings tell


def test_runs_of_the_same_mapping_are_one_row_each_in_any_batches() -> None:
    first, second = (IDSN + 1, 1, 300), (IDSN + 301, 301, 100)
    parts = [
        *[replace(segment(1 + 100 * number, 100), mapping=first) for number in range(3)],
        replace(segment(301, 100), mapping=second),
        replace(segment(101, 100), mapping=first),
    ]
    packets = [*handshake(0, 0), *parts]
    for size in (1, 2, 100):
        capture = MadeCapture(packets, size)
        resolution = resolve(capture)
        measures, runs = Measures(capture, resolution), MappingRuns(DsnWidth(resolution))
        rows = [runs.take(measures.stretcher.take(batch)) for batch in capture.batches()]
        rest = runs.finish()
        assert rest is not None
        rows.append(rest)
        found = sorted(
            item
            for row in rows
            for item in zip(
                np.asarray(row["frame"]).tolist(), row["dsn"].to_pylist(), row["length"].tolist(),
                row["segments"].tolist(), strict=True,
            )
        )  # fmt: skip
        assert found == [(4, first[0], 300, 3), (7, second[0], 100, 1), (8, first[0], 300, 1)]
