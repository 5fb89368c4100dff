"""From two places to the rows of ``one_way``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.capture import tables
from analysis.capture.pairing import Pairs, pair
from testbed.record.parquet import arrow_table

if TYPE_CHECKING:
    from analysis.capture.analysis import CaptureAnalysis


def one_way_table(first: CaptureAnalysis, others: Sequence[CaptureAnalysis]) -> pa.Table:
    """``one_way``: the first place with each other one."""
    rows: list[dict[str, Any]] = []
    for other in others:
        pairs = pair(first.capture, first.resolution, other.capture, other.resolution)
        for subflow in first.resolution.subflows:
            for direction in (0, 1):
                stream = 2 * subflow.number + direction
                if pairs.paired[stream]:
                    rows.append(_row(pairs, stream, subflow.connection, first.source, other.source))
    return arrow_table(tables.ONE_WAY, rows)


def _row(pairs: Pairs, stream: int, connection: int, a: str, b: str) -> dict[str, Any]:
    from_a = pairs.from_a(stream)
    lost, lost_octets = pairs.missing(stream, near=True, from_a=from_a)
    extra, _ = pairs.missing(stream, near=False, from_a=from_a)
    return {
        "connection": connection,
        "subflow": stream // 2,
        "direction": stream % 2,
        "near": a if from_a else b,
        "far": b if from_a else a,
        "paired": int(pairs.paired[stream]),
        "lost": lost,
        "lost_octets": lost_octets,
        "extra": extra,
        **pairs.delays(stream, from_a),
    }
