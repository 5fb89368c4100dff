"""Inferred segments as the table ``segments`` (testbed.record.schema), source ``capture``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.contention.repacking import SEGMENT_KINDS, Outcome, in_words
from analysis.contention.segments import MAPPINGS, NOT_KNOWN, SIDE_NAMES, Segments, Subflows
from testbed.record.parquet import arrow_schema
from testbed.record.schema import SEGMENTS

SOURCE = "capture"


def segment_table(
    segments: Segments,
    outcomes: Sequence[Outcome],
    subflows: Subflows,
    *,
    trial: int = 0,
    flow: str = "",
    t0_ns: int = 0,
) -> pa.Table:
    """Rows with the columns of ``segments``; texts are dictionaries. ``t0_ns``: what times count from."""
    ssn_known = segments.ssn != NOT_KNOWN
    values: dict[str, pa.Array] = {
        "trial": pa.array(np.full(len(segments), trial, dtype=np.int64)),
        "flow": _constant(flow, len(segments)),
        "side": _chosen(SIDE_NAMES, segments.side),
        "source": _constant(SOURCE, len(segments)),
        "connection": pa.array(subflows.connection[segments.subflow]),
        "time_ns": pa.array(segments.time_ns - t0_ns),
        "subflow": pa.array(subflows.place[segments.subflow]),
        "segment": _chosen(SEGMENT_KINDS, segments.kind),
        "retransmission": pa.array(segments.retransmission),
        "ssn": _with_nulls(segments.ssn),
        "payload": pa.array(segments.payload),
        "mapping": _chosen(MAPPINGS, segments.mapping),
        "mss": _with_nulls(segments.mss),
        "ack": _with_nulls(segments.ack),
        "sack_ranges": _ranges(segments),
        "mapping_ssn": _with_nulls(np.where(ssn_known, segments.mapping_ssn, NOT_KNOWN)),
        "mapping_octets": _with_nulls(segments.mapping_octets),
        "frame": pa.array(segments.frame),
    }
    used, place = np.unique(segments.outcome, return_inverse=True)
    chosen = [outcomes[number] for number in used.tolist()]
    for name, value in _OF_OUTCOME.items():
        each = [value(outcome) for outcome in chosen]
        if SEGMENTS.column(name).type == "text":
            values[name] = _chosen(each, place)
        else:
            values[name] = pa.array(np.array(each, dtype=np.int64)[place])
    schema = arrow_schema(SEGMENTS, encoded=True)
    arrays = [values[field.name].cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


_OF_OUTCOME: dict[str, Callable[[Outcome], Any]] = {
    "wanted": lambda outcome: in_words(outcome.wanted),
    "wanted_octets": lambda outcome: outcome.wanted_octets,
    "sent": lambda outcome: in_words(outcome.situation.sent),
    "option_octets": lambda outcome: outcome.situation.option_octets,
    "padding_octets": lambda outcome: outcome.padding_octets,
    "free_octets": lambda outcome: 40 - outcome.situation.option_octets,
    "sack_wanted": lambda outcome: outcome.situation.sack_wanted,
    "sack_sent": lambda outcome: outcome.situation.sack_sent,
    "sack_padding": lambda outcome: outcome.classes[0],
    "sack_width": lambda outcome: outcome.classes[1],
    "sack_policy": lambda outcome: outcome.classes[2],
    "sack_hard": lambda outcome: outcome.classes[3],
    "sack_blame": lambda outcome: outcome.blame,
    "omitted": lambda outcome: outcome.omitted,
}


def _constant(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), pa.array([text]))


def _chosen(texts: Sequence[str], index: NDArray[Any]) -> pa.Array:
    """A dictionary of the texts; texts that are equal become one."""
    distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    numbers = np.array([distinct[text] for text in texts], dtype=np.int32)
    chosen = numbers[index] if len(numbers) else np.zeros(0, dtype=np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(chosen, pa.int32()), pa.array(list(distinct), pa.string()))


def _with_nulls(values: NDArray[np.int64]) -> pa.Array:
    return pa.array(values, mask=values == NOT_KNOWN)


def _ranges(segments: Segments) -> pa.Array:
    """Numbers as in ``ack``; null with it, and where none is wanted."""
    index = sorted(at for at in segments.ranges if segments.ack[at] != NOT_KNOWN)
    texts = [" ".join(f"{left}-{right}" for left, right in segments.ranges[at]) for at in index]
    place = np.full(len(segments), -1, dtype=np.int32)
    place[index] = np.arange(len(index))
    return pa.DictionaryArray.from_arrays(pa.array(place, mask=place < 0), pa.array(texts, pa.string()))
