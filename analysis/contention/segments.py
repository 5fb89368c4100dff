"""Segments that an endpoint sent, as columns: what is known of them, from a capture or from a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.contention.repacking import SEGMENT_KINDS
from analysis.contention.replay import Range

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOT_KNOWN = np.int64(np.iinfo(np.int64).min)
"""In columns of numbers: null."""
SIDE_NAMES = ("client", "server")
MAPPINGS = ("none", "own", "other", "repeated", "declared", "deferred")
DATA, PURE_ACK = SEGMENT_KINDS.index("data"), SEGMENT_KINDS.index("ack")


@dataclass(frozen=True, slots=True)
class Subflows:
    """What has to be known of the subflows before their packets are read. One value for each, by number."""

    side: NDArray[np.int8]
    """Whose segments are to be inferred: 0 the opener's (the capture stands at its interface), 1 the listener's, 2
    both, -1 nobody's: the capture stands elsewhere, or it is not known where."""
    isn: Int64s
    """Shape (n, 2): initial sequence numbers of the opener and the listener; NOT_KNOWN when not in the capture."""
    connection: Int64s
    place: Int64s
    """Number of the subflow within its connection, from 0."""


@dataclass(slots=True)
class Segments:
    """Segments that one side sent, as columns, in the order of the capture. NOT_KNOWN is null."""

    row: Int64s
    """In the batch."""
    subflow: Int64s
    side: NDArray[np.int8]
    """0: the opener sent it; 1: the listener."""
    frame: Int64s
    time_ns: Int64s
    kind: NDArray[np.int8]
    """Index into SEGMENT_KINDS."""
    retransmission: Bools
    ssn: Int64s
    payload: Int64s
    outcome: Int64s
    """Index into the outcomes (:attr:`analysis.contention.inference.Inference.outcomes`)."""
    turn: NDArray[np.uint8]
    """Bit i: under the i-th rhythm asked for (``map_every``) a data segment has its turn to carry the mapping."""
    peer_is_wide: Bools
    """A 64-bit DSN has come from the peer."""
    mapping: NDArray[np.int8]
    """Index into MAPPINGS."""
    mapping_ssn: Int64s
    """Offset of ``ssn_offset``."""
    mapping_octets: Int64s
    mss: Int64s
    ack: Int64s
    ack_offset: Int64s
    """As ``ack``, but also where the SYN is not in the capture (then from the first number seen)."""
    ssn_offset: Int64s
    """As ``ssn``, likewise."""
    ranges: dict[int, tuple[Range, ...]] = field(default_factory=dict)
    """Index of a segment -> the SACK ranges that it wanted to report, those sent first; numbers of ``ack_offset``."""

    def __len__(self) -> int:
        return len(self.row)


def _columns() -> list[str]:
    return [name for name in Segments.__dataclass_fields__ if name != "ranges"]


def _ordered(segments: Segments, order: Int64s) -> Segments:
    values = {name: getattr(segments, name)[order] for name in _columns()}
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.arange(len(order))
    return Segments(**values, ranges={int(index[at]): each for at, each in segments.ranges.items()})


def in_file_order(segments: Segments) -> Segments:
    """The same in the order of the capture."""
    return _ordered(segments, np.argsort(segments.row, kind="stable"))


def joined(parts: Sequence[Segments]) -> Segments:
    """Those of both sides, in the order of the capture."""
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _columns()}
    ranges = dict(parts[0].ranges)
    ranges.update({at + len(parts[0]): each for at, each in parts[1].ranges.items()})
    return in_file_order(Segments(**values, ranges=ranges))


def nothing() -> Segments:
    """No segments."""
    kinds: dict[str, Any] = {"side": np.int8, "kind": np.int8, "mapping": np.int8, "turn": np.uint8}
    kinds |= {"retransmission": np.bool_, "peer_is_wide": np.bool_}
    columns: dict[str, Any] = {name: np.zeros(0, dtype=kinds.get(name, np.int64)) for name in _columns()}
    return Segments(**columns)
