"""From packets at an endpoint's interface to what the ledger would say of the segments that it sent.

:class:`Inference` takes the batches of a capture in their order. For each segment that left the side the capture stands
at it gives a row: what was sent (as on the wire), what can be known of what was wanted (what was sent; SACK as replayed
by :mod:`analysis.contention.replay`; timestamps and a DSS that other options displaced), and the :class:`Outcome` that
follows. Packets of the far side give no rows: what it had received when it sent them cannot be seen here.

Columns are computed for all subflows of a batch at once; a Python loop runs only over a subflow's packets from the
first out of order until nothing is held any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, CUT_OPTIONS, DSS_CHECKSUM, DSS_DATA_FIN, Batch, Layout
from analysis.contention.leaving import Leaving
from analysis.contention.repacking import SEGMENT_KINDS, DssForm, Outcome, Situation
from analysis.contention.replay import LINUX, Range, Receiver
from analysis.contention.sack_inference import SackReplay
from analysis.contention.segments import (
    NOT_KNOWN,
    Bools,
    Int64s,
    Segments,
    Subflows,
    in_file_order,
    joined,
    nothing,
)
from analysis.contention.view import ACK, SYN, LayoutTable, State, View


class Inference:
    """Rows for one capture. ``map_every``: the rhythms of mappings that what-if policies ask for."""

    def __init__(
        self,
        layouts: Sequence[Layout],
        subflows: Subflows,
        *,
        receiver: Receiver = LINUX,
        map_every: Sequence[int] = (),
        outcomes: list[Outcome] | None = None,
    ) -> None:
        self.subflows = subflows
        self.receiver = receiver
        self.map_every = tuple(map_every)
        self.outcomes = [] if outcomes is None else outcomes
        self.unknown = 0
        """Segments without a row: the capture ends within their options, or these are not understood as a whole."""
        self._layouts = LayoutTable(layouts)
        self._states = {side: State(subflows, side) for side in (0, 1)}
        self._numbers: dict[int, int] = {}

    def take(self, batch: Batch, subflow: NDArray[np.int32], direction: NDArray[np.int8]) -> Segments:
        """The rows of the next batch."""
        self._layouts.extend()
        side_of = np.append(self.subflows.side, np.int8(-1))[subflow]  # subflow -1: the last
        parts = []
        for side in (0, 1):
            rows = np.flatnonzero(((side_of == side) | (side_of == 2)) & (batch.status & CUT_HEADER == 0))
            if len(rows):
                order = np.argsort(_narrow(subflow[rows]), kind="stable")
                parts.append(self._of_side(side, batch, rows[order], subflow, direction))
        if len(parts) == 1:
            return in_file_order(parts[0])
        return joined(parts) if parts else nothing()

    # --- inside ---

    def _of_side(
        self, side: int, batch: Batch, rows: Int64s, subflow: NDArray[np.int32], direction: NDArray[np.int8]
    ) -> Segments:
        state = self._states[side]
        view = View(batch, rows, subflow[rows].astype(np.int64), direction[rows] == side, self._layouts, state)
        view.note_openings()
        wanted, ranges = SackReplay(view, state, self.receiver).run()
        return self._rows(side, view, state, wanted, ranges)

    def _rows(
        self,
        side: int,
        view: View,
        state: State,
        wanted: NDArray[np.uint8],
        ranges: dict[int, tuple[Range, ...]],
    ) -> Segments:
        leaving = Leaving(view, state, self.map_every)
        whole = leaving.column("status") & CUT_OPTIONS == 0
        whole &= self._layouts.is_whole[leaving.column("layout")]
        self.unknown += int(len(whole) - np.count_nonzero(whole))
        outcome = self._outcomes(leaving, wanted[leaving.at], whole)
        kept = np.flatnonzero(whole)
        index = np.full(len(view.rows), -1, dtype=np.int64)
        index[leaving.at[kept]] = np.arange(len(kept))
        ack = view.far[leaving.at]
        known = state.far_known[leaving.subflow] & (leaving.column("flags") & ACK != 0)
        return Segments(
            row=leaving.rows[kept],
            subflow=leaving.subflow[kept],
            side=np.full(len(kept), side, dtype=np.int8),
            frame=leaving.column("frame")[kept],
            time_ns=leaving.column("time_ns")[kept],
            kind=leaving.kind[kept],
            retransmission=leaving.retransmission[kept],
            ssn=np.where(state.own_known[leaving.subflow], leaving.ssn, NOT_KNOWN)[kept],
            payload=leaving.payload[kept],
            outcome=outcome,
            turn=leaving.turn[kept],
            peer_is_wide=leaving.peer_is_wide[kept],
            mapping=leaving.mapping[kept],
            mapping_ssn=leaving.mapping_ssn[kept],
            mapping_octets=leaving.mapping_octets[kept],
            mss=np.where(leaving.column("flags") & SYN, NOT_KNOWN, state.mss[leaving.subflow])[kept],
            ack=np.where(known, ack, NOT_KNOWN)[kept],
            ack_offset=ack[kept],
            ssn_offset=leaving.ssn[kept],
            ranges={int(index[at]): each for at, each in ranges.items() if index[at] >= 0},
        )

    def _outcomes(self, leaving: Leaving, wanted: NDArray[np.uint8], whole: Bools) -> Int64s:
        """The numbers of the outcomes of whole segments: each situation that occurs is worked out once."""
        keys = leaving.keys | (np.maximum(wanted, leaving.column("sack_count")).astype(np.int64) << 32)
        found, inverse = np.unique(keys[whole], return_inverse=True)
        numbers = np.array([self._number(int(key)) for key in found], dtype=np.int64)
        return numbers[inverse] if len(found) else np.zeros(0, dtype=np.int64)

    def _number(self, key: int) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.outcomes)
            self.outcomes.append(Outcome(self._situation(key)))
        return self._numbers[key]

    def _situation(self, key: int) -> Situation:
        layout, bits = key & 0xFFFF, key >> 16 & 0xFF
        return Situation(
            segment=SEGMENT_KINDS[key >> 24 & 0x7],
            sent=self._layouts.sent[layout],
            option_octets=self._layouts.octets(layout),
            dss=DssForm(
                (8 if bits & 2 else 4) if bits & 1 else 0,
                (8 if bits & 8 else 4) if bits & 4 else 0,
                bool(bits & DSS_CHECKSUM),
                bool(bits & DSS_DATA_FIN),
            ),
            sack_wanted=key >> 32 & 0xF,
            is_aligned=bool(key >> 27 & 1),
            repeats_data_ack=bool(key >> 28 & 1),
            repeats_mapping=bool(key >> 29 & 1),
            lacks_timestamps=bool(key >> 30 & 1),
            lacks_dss=key >> 36 & 0xF,
        )


def _narrow(numbers: NDArray[np.int32]) -> NDArray[Any]:
    """16 bits where they do: sorting them stably is much faster."""
    return numbers.astype(np.uint16) if len(numbers) and numbers.max() < 1 << 16 else numbers
