"""From the accumulators to the rows of ``subflows``, ``connections`` and ``series``."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.capture import tables
from analysis.capture.measuring import Measures
from analysis.capture.resolution import Connection, End, Subflow
from analysis.capture.sums import Distributions
from analysis.capture.totals import SERIES
from analysis.capture.vantage import At
from analysis.capture.writing import table_of
from testbed.record.parquet import arrow_schema


def text_of(end: End) -> str:
    """``192.0.2.1:5001`` or ``[2001:db8::1]:5001``."""
    address = ipaddress.ip_address(end[0])
    return f"[{address}]:{end[1]}" if address.version == 6 else f"{address}:{end[1]}"


def subflow_table(measures: Measures) -> pa.Table:
    """``subflows``."""
    columns = _Columns(measures)
    subflows = measures.resolution.subflows
    return table_of(tables.SUBFLOWS, (_subflow(measures, columns, item, way) for item in subflows for way in (0, 1)))


def connection_table(measures: Measures, at: At | None) -> pa.Table:
    """``connections``."""
    columns = _Columns(measures)
    connections = measures.resolution.connections
    return table_of(
        tables.CONNECTIONS, (_connection(measures, columns, item, way, at) for item in connections for way in (0, 1))
    )


def series_table(measures: Measures) -> pa.Table:
    """``series``."""
    series = measures.series
    stream, number = np.divmod(series.sums.keys, 1 << 20)
    flux = measures.stretcher.flux_of_stream[stream] if len(stream) else stream
    columns: dict[str, Any] = {
        "connection": flux >> 1,
        "subflow": stream >> 1,
        "direction": stream & 1,
        "time_ns": series.first_ns + number * series.bin_ns,
        "bin_ns": np.full(len(stream), series.bin_ns),
    }
    columns |= {name: series.sums.sums[name] for name in SERIES}
    return pa.table(columns, schema=arrow_schema(tables.SERIES))


class _Columns:
    """The sums by stream as lists: taking numbers one by one out of arrays is slow."""

    def __init__(self, measures: Measures) -> None:
        self.totals = {name: column.tolist() for name, column in measures.totals.sums.items()}
        self.sending = {name: column.tolist() for name, column in measures.sending.sums.items()}
        self.sending["data_segments"] = measures.sending.data_segments.tolist()
        self.sending["sequence_octets"] = measures.sequence_octets.tolist()
        self.unmapped: list[int] = measures.unmapped.tolist()
        order = measures.reordering
        self.order = {
            "out_of_order_segments": order.segments.tolist(),
            "out_of_order_octets": order.octets.tolist(),
            "out_of_order_extent_octets": order.extent.tolist(),
            "dsn_out_of_order_segments": order.dsn_segments.tolist(),
            "dsn_out_of_order_octets": order.dsn_octets.tolist(),
        }
        self.dsn_extent: list[int] = order.dsn_extent.tolist()


def _subflow(measures: Measures, columns: _Columns, subflow: Subflow, way: int) -> dict[str, Any]:
    stream = 2 * subflow.number + way
    ends = (subflow.opener, subflow.listener)
    sums = {name: column[stream] for name, column in columns.totals.items()}
    sums |= {name: column[stream] for name, column in columns.sending.items()}
    sums |= {name: column[stream] for name, column in columns.order.items()}
    unmapped = columns.unmapped[stream]
    goodput = sums["goodput_octets"] + (unmapped if measures.fell_back(subflow.connection) else 0)
    opened = None if subflow.opened_by is None else (subflow.opened_by == "opener") == (way == 0)
    return {
        "connection": subflow.connection,
        "subflow": subflow.number,
        "direction": way,
        "how": subflow.how,
        "ip_version": subflow.version,
        "source": text_of(ends[way]),
        "destination": text_of(ends[1 - way]),
        "opener": opened,
        "first_frame": subflow.first_frame,
        "first_ns": known(subflow.first_ns),
        "last_ns": known(subflow.last_ns),
        "isn": subflow.isn[way],
        "mss": subflow.mss[way],
        "window_shift": subflow.window_shift[way],
        "sack_permitted": subflow.sack_permitted[way],
        "timestamps": subflow.timestamps,
        "address_id": subflow.address_ids[way],
        "backup": subflow.backup[way],
        "syn_rtt_ns": subflow.syn_rtt_ns,
        "third_rtt_ns": subflow.third_rtt_ns,
        **sums,
        "goodput_octets": goodput,
        "unmapped_octets": unmapped,
        "acked_octets": measures.totals.acknowledged(stream) if subflow.isn[way] is not None else None,
        **_spread("rtt", measures.rtt.by_ack, stream),
        **_spread("rtt_timestamp", measures.rtt.by_timestamp, stream),
        **_ratios(sums["option_octets"], sums["payload_octets"], goodput, subflow.last_ns - subflow.first_ns),
    }


def _connection(
    measures: Measures, columns: _Columns, connection: Connection, way: int, at: At | None
) -> dict[str, Any]:
    members = [measures.resolution.subflows[number] for number in connection.subflows]
    streams = [2 * member.number + way for member in members]
    flux = 2 * connection.number + way
    unmapped = _sum(columns.unmapped, streams)
    fell_back = measures.fell_back(connection.number)
    goodput = _sum(columns.sending["goodput_octets"], streams) + (unmapped if fell_back else 0)
    first, last = min(member.first_ns for member in members), max(member.last_ns for member in members)
    ends = (members[0].opener, members[0].listener)
    payload = _sum(columns.totals["payload_octets"], streams)
    options = _sum(columns.totals["option_octets"], streams)
    place = capture_at(at, way)
    return {
        "connection": connection.number,
        "direction": way,
        "mptcp": connection.mptcp,
        "version": connection.version,
        "source": text_of(ends[way]),
        "destination": text_of(ends[1 - way]),
        "subflows": len(members),
        "inferred": connection.inferred,
        "fallback": connection.fallback or ("unmapped" if fell_back and unmapped and not connection.inferred else ""),
        "checksum": connection.checksum,
        "token": connection.tokens[way],
        "idsn": connection.idsn[way],
        "first_ns": known(first),
        "last_ns": known(last),
        "packets": _sum(columns.totals["packets"], streams),
        "payload_octets": payload,
        "goodput_octets": goodput,
        "acked_octets": _acked(measures, connection, members[0], way, fell_back and unmapped > 0),
        "unmapped_octets": unmapped,
        **{
            name: _sum(columns.sending[name], streams)
            for name in ("retransmitted_segments", "retransmitted_octets", "reinjected_segments", "reinjected_octets")
        },
        "out_of_order_segments": _sum(columns.order["dsn_out_of_order_segments"], streams),
        "out_of_order_octets": _sum(columns.order["dsn_out_of_order_octets"], streams),
        "out_of_order_extent_octets": max(columns.dsn_extent[stream] for stream in streams),
        "capture_at": place,
        **(_waiting(measures, flux) if place == "receiver" else {}),
        "padding_octets": _sum(columns.totals["padding_octets"], streams),
        "option_octets": options,
        **_ratios(options, payload, goodput, last - first),
    }


def capture_at(at: At | None, way: int) -> str | None:
    """Where the capture stands for one direction."""
    if at is None or at == "between":
        return at
    return "sender" if (at == "opener") == (way == 0) else "receiver"


def known(time_ns: int) -> int | None:
    """None for a packet that has no time."""
    return time_ns if time_ns >= 0 else None


def _acked(measures: Measures, connection: Connection, first: Subflow, way: int, bare: bool) -> int | None:
    """By DATA_ACK, else by ACK; None after a fallback in the middle, when neither tells all."""
    if not connection.mptcp:
        return measures.totals.acknowledged(2 * first.number + way) if first.isn[way] is not None else None
    if bare or connection.idsn[way] is None:
        return None
    return measures.totals.data_acknowledged(2 * connection.number + way)


def _waiting(measures: Measures, flux: int) -> dict[str, Any]:
    delays = measures.head_of_line.delays
    return {
        "head_of_line_octets": int(measures.head_of_line.waited[flux]),
        "head_of_line_p50_ns": delays.quantile(flux, 0.5),
        "head_of_line_p95_ns": delays.quantile(flux, 0.95),
        "head_of_line_p99_ns": delays.quantile(flux, 0.99),
        "head_of_line_max_ns": delays.greatest(flux),
        "head_of_line_mean_ns": delays.mean(flux),
    }


def _spread(name: str, of: Distributions, stream: int) -> dict[str, Any]:
    return {
        f"{name}_samples": int(of.count[stream]),
        f"{name}_min_ns": of.least(stream),
        f"{name}_p50_ns": of.quantile(stream, 0.5),
        f"{name}_p95_ns": of.quantile(stream, 0.95),
        f"{name}_max_ns": of.greatest(stream),
    }


def _ratios(options: int, payload: int, goodput: int, duration_ns: int) -> dict[str, Any]:
    return {
        "header_tax": options / payload if payload else None,
        "header_tax_useful": options / goodput if goodput else None,
        "throughput_bit_s": payload * 8e9 / duration_ns if duration_ns > 0 else None,
        "goodput_bit_s": goodput * 8e9 / duration_ns if duration_ns > 0 else None,
    }


def _sum(column: Sequence[int], streams: Sequence[int]) -> int:
    return sum(column[stream] for stream in streams)
