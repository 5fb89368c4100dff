"""Rows of the table ``segments``, of any one source, as the segments that the measures take.

What the source says of a segment (wants, classes, blame) is kept as it says it; what a what-if policy needs besides,
the widths in the DSS, follows from its size: a sender that maps with a DATA_ACK, as all known ones do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.contention.grouped import groups_of, running_sum
from analysis.contention.repacking import CLASSES, SEGMENT_KINDS, DssForm, Outcome, Situation, padded
from analysis.contention.replay import Range
from analysis.contention.segments import DATA, MAPPINGS, NOT_KNOWN, SIDE_NAMES, Segments, Subflows

_OF_OUTCOME = (
    "segment",
    "wanted",
    "wanted_octets",
    "sent",
    "option_octets",
    "padding_octets",
    "sack_wanted",
    "sack_sent",
    *(f"sack_{word}" for word in CLASSES),
    "sack_blame",
    "mapping",
    "omitted",
)
"""Columns that decide an outcome."""
_WHOSE = ("trial", "flow", "connection", "subflow")
_FORMS: Mapping[tuple[int, bool], DssForm] = {
    (form.size, form.dsn > 0): form
    for form in (
        *(DssForm(0, dsn, checksum) for checksum in (True, False) for dsn in (4, 8)),
        *(DssForm(ack, dsn, checksum) for checksum in (True, False) for ack, dsn in ((8, 4), (4, 8))),
        *(DssForm(ack, dsn, checksum) for checksum in (True, False) for ack, dsn in ((8, 8), (4, 4))),
        DssForm(8),
        DssForm(4),
    )
}
"""(octets, whether it has a mapping) -> the likeliest form: the last that has this size."""


@dataclass(frozen=True)
class Recorded(Outcome):
    """An outcome as somebody wrote it down."""

    row: Mapping[str, Any]

    @cached_property
    def wanted(self) -> tuple[tuple[str, int], ...]:
        """(name, octets), SACK last."""
        return sizes(self.row["wanted"])

    @cached_property
    def wanted_octets(self) -> int:
        """Sum of the sizes wanted."""
        return int(self.row["wanted_octets"])

    @cached_property
    def padding_octets(self) -> int:
        """NOP and EOL octets."""
        return int(self.row["padding_octets"])

    @cached_property
    def classes(self) -> tuple[int, int, int, int]:
        """Displaced blocks of each of CLASSES."""
        row = self.row
        return row["sack_padding"], row["sack_width"], row["sack_policy"], row["sack_hard"]

    @cached_property
    def blame(self) -> str:
        """Options any one of which, taken off, would have let one block more in."""
        return str(self.row["sack_blame"])

    @cached_property
    def omitted(self) -> str:
        """Options other than SACK that waited or were left out."""
        return str(self.row["omitted"])


@dataclass(frozen=True, slots=True)
class Whose:
    """To whom a subflow's number belongs."""

    trial: int
    flow: str
    connection: int
    subflow: int


def recorded(table: pa.Table, map_every: Sequence[int] = ()) -> tuple[Segments, list[Outcome], Subflows, list[Whose]]:
    """Segments, their outcomes, subflows and whose they are; rows are of one source, in the order of time of each
    subflow."""
    order = pc.sort_indices(table, [("trial", "ascending"), ("time_ns", "ascending")])
    table = table.take(order)
    subflow, keys = _distinct(table, _WHOSE)
    outcome, rows = _distinct(table, _OF_OUTCOME)
    whose = [Whose(key["trial"], key["flow"], key["connection"], key["subflow"]) for key in keys]
    kind = _index(table["segment"], SEGMENT_KINDS)
    ssn, ack = _numbers(table["ssn"]), _numbers(table["ack"])
    side = _index(table["side"], SIDE_NAMES)
    segments = Segments(
        row=np.arange(table.num_rows, dtype=np.int64),
        subflow=subflow,
        side=side,
        frame=_numbers(table["frame"]),
        time_ns=_numbers(table["time_ns"]),
        kind=kind,
        retransmission=np.asarray(table["retransmission"].to_numpy(zero_copy_only=False), dtype=bool),
        ssn=ssn,
        payload=_numbers(table["payload"]),
        outcome=outcome,
        turn=_turns(subflow * 2 + side, kind == DATA, map_every),
        peer_is_wide=np.ones(table.num_rows, dtype=bool),
        mapping=_index(table["mapping"], MAPPINGS),
        mapping_ssn=_numbers(table["mapping_ssn"]),
        mapping_octets=_numbers(table["mapping_octets"]),
        mss=_numbers(table["mss"]),
        ack=ack,
        ack_offset=ack,
        ssn_offset=np.where(ssn == NOT_KNOWN, 0, ssn),
        ranges=_ranges(table["sack_ranges"]),
    )
    subflows = Subflows(
        side=np.zeros(len(whose), dtype=np.int8),
        isn=np.zeros((len(whose), 2), dtype=np.int64),
        connection=np.array([each.connection for each in whose], dtype=np.int64),
        place=np.array([each.subflow for each in whose], dtype=np.int64),
    )
    return segments, [Recorded(_situation(row), row) for row in rows], subflows, whose


def sizes(text: str) -> tuple[tuple[str, int], ...]:
    """``timestamps:10 dss:26`` as pairs."""
    pairs = (word.rsplit(":", 1) for word in text.split())
    return tuple((name, int(size)) for name, size in pairs)


def _situation(row: Mapping[str, Any]) -> Situation:
    sent = sizes(row["sent"])
    maps = row["mapping"] in ("own", "other", "repeated")
    size = next((size for name, size in sent if name == "dss"), 0)
    form = _FORMS.get((size, maps), _FORMS.get((size, not maps), DssForm()))
    return Situation(
        segment=row["segment"],
        sent=sent,
        option_octets=row["option_octets"],
        dss=form,
        sack_wanted=row["sack_wanted"],
        is_aligned=row["option_octets"] == sum(padded(each) for _, each in sent),
        lacks_timestamps="timestamps:" in row["omitted"],
        lacks_dss=0,
    )


_INT64_MAX = (1 << 63) - 1


def _distinct(table: pa.Table, columns: Sequence[str]) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    """(number of each row's combination, the combinations)."""
    number, span = np.zeros(table.num_rows, dtype=np.int64), 1
    for name in columns:
        column = table[name].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        codes = np.asarray(column.indices.to_numpy(zero_copy_only=False), dtype=np.int64)
        values = len(column.dictionary) + 1
        if span * values > _INT64_MAX:  # ranked, the combinations so far take the least room
            number = np.unique(number, return_inverse=True)[1].astype(np.int64)
            span = int(number.max(initial=0)) + 1
        number, span = number * values + codes, span * values
    number = np.unique(number, return_inverse=True)[1]
    found, first = np.unique(number, return_index=True)
    rows = table.select(list(columns)).take(pa.array(first)).to_pylist()
    assert len(found) == len(rows)
    return number.astype(np.int64), rows


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    filled = pc.fill_null(column, pa.scalar(int(NOT_KNOWN), pa.int64()))
    return np.asarray(filled.to_numpy(), dtype=np.int64)


def _index(column: pa.ChunkedArray, words: Sequence[str]) -> NDArray[np.int8]:
    found = pc.index_in(pc.cast(column, pa.string()), pa.array(words))
    return np.asarray(pc.fill_null(found, 0).to_numpy(), dtype=np.int8)


def _turns(base: NDArray[np.int64], is_data: NDArray[np.bool_], map_every: Sequence[int]) -> NDArray[np.uint8]:
    """Bit i: the data segment is one of those that carry a mapping when every i-th does."""
    turn = np.zeros(len(base), dtype=np.uint8)
    order = np.argsort(base, kind="stable")
    groups = groups_of(base[order])
    nth = running_sum(is_data[order].astype(np.int64), groups, np.zeros(len(groups.key), dtype=np.int64)) - 1
    for bit, every in enumerate(map_every):
        turn[order] |= (nth % every == 0).astype(np.uint8) << np.uint8(bit)
    return turn


def _ranges(column: pa.ChunkedArray) -> dict[int, tuple[Range, ...]]:
    texts = pc.cast(column, pa.string())
    places = np.flatnonzero(np.asarray(pc.is_valid(texts).to_numpy()))
    found = {}
    for place, text in zip(places.tolist(), texts.drop_null().to_pylist(), strict=True):
        pairs = (word.split("-") for word in text.split())
        found[place] = tuple((int(low), int(high)) for low, high in pairs)
    return found
