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
from testbed.record.parquet import arrow_schema, arrow_table


def text_of(end: End) -> str:
    """``192.0.2.1:5001`` or ``[2001:db8::1]:5001``."""
    address = ipaddress.ip_address(end[0])
    return f"[{address}]:{end[1]}" if address.version == 6 else f"{address}:{end[1]}"


def subflow_table(measures: Measures) -> pa.Table:
    """``subflows``."""
    rows = [_subflow(measures, subflow, way) for subflow in measures.resolution.subflows for way in (0, 1)]
    return arrow_table(tables.SUBFLOWS, rows)


def connection_table(measures: Measures, at: At | None) -> pa.Table:
    """``connections``."""
    rows = [_connection(measures, item, way, at) for item in measures.resolution.connections for way in (0, 1)]
    return arrow_table(tables.CONNECTIONS, rows)


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


def _subflow(measures: Measures, subflow: Subflow, way: int) -> dict[str, Any]:
    stream = 2 * subflow.number + way
    ends = (subflow.opener, subflow.listener)
    sums = {name: int(column[stream]) for name, column in measures.totals.sums.items()}
    sums |= {name: int(column[stream]) for name, column in measures.sending.sums.items()}
    unmapped = int(measures.unmapped[stream])
    goodput = sums["goodput_octets"] + (unmapped if measures.fell_back(subflow.connection) else 0)
    opened = None if subflow.opened_by is None else (subflow.opened_by == "opener") == (way == 0)
    reordering = measures.reordering
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
        "data_segments": int(measures.sending.data_segments[stream]),
        "sequence_octets": int(measures.sequence_octets[stream]),
        "goodput_octets": goodput,
        "unmapped_octets": unmapped,
        "acked_octets": measures.totals.acknowledged(stream) if subflow.isn[way] is not None else None,
        "out_of_order_segments": int(reordering.segments[stream]),
        "out_of_order_octets": int(reordering.octets[stream]),
        "out_of_order_extent_octets": int(reordering.extent[stream]),
        "dsn_out_of_order_segments": int(reordering.dsn_segments[stream]),
        "dsn_out_of_order_octets": int(reordering.dsn_octets[stream]),
        **_spread("rtt", measures.rtt.by_ack, stream),
        **_spread("rtt_timestamp", measures.rtt.by_timestamp, stream),
        **_ratios(sums["option_octets"], sums["payload_octets"], goodput, subflow.last_ns - subflow.first_ns),
    }


def _connection(measures: Measures, connection: Connection, way: int, at: At | None) -> dict[str, Any]:
    members = [measures.resolution.subflows[number] for number in connection.subflows]
    streams = [2 * member.number + way for member in members]
    flux = 2 * connection.number + way
    unmapped = _sum(measures.unmapped, streams)
    fell_back = measures.fell_back(connection.number)
    goodput = _sum(measures.sending.sums["goodput_octets"], streams) + (unmapped if fell_back else 0)
    first, last = min(member.first_ns for member in members), max(member.last_ns for member in members)
    ends = (members[0].opener, members[0].listener)
    payload = _sum(measures.totals.sums["payload_octets"], streams)
    options = _sum(measures.totals.sums["option_octets"], streams)
    reordering = measures.reordering
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
        "fallback": connection.fallback or ("unmapped" if fell_back and unmapped else ""),
        "checksum": connection.checksum,
        "token": connection.tokens[way],
        "idsn": connection.idsn[way],
        "first_ns": known(first),
        "last_ns": known(last),
        "packets": _sum(measures.totals.sums["packets"], streams),
        "payload_octets": payload,
        "goodput_octets": goodput,
        "acked_octets": _acked(measures, connection, members[0], way, fell_back and unmapped > 0),
        "unmapped_octets": unmapped,
        **{
            name: _sum(measures.sending.sums[name], streams)
            for name in ("retransmitted_segments", "retransmitted_octets", "reinjected_segments", "reinjected_octets")
        },
        "out_of_order_segments": _sum(reordering.dsn_segments, streams),
        "out_of_order_octets": _sum(reordering.dsn_octets, streams),
        "out_of_order_extent_octets": int(max(reordering.dsn_extent[streams])),
        "capture_at": place,
        **(_waiting(measures, flux) if place == "receiver" else {}),
        "padding_octets": _sum(measures.totals.sums["padding_octets"], streams),
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


def _sum(column: np.ndarray[Any, np.dtype[np.int64]], streams: Sequence[int]) -> int:
    return int(column[list(streams)].sum())
