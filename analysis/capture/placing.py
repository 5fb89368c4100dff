"""What each packet belongs to and where its data stand, for the table ``packets``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import Batch
from analysis.capture.intervals import Int64s, Line
from analysis.capture.mapping import Mapper
from analysis.capture.packets_file import Resolved
from analysis.capture.resolution import Readable, Resolution
from analysis.capture.sending import Sending, Sent
from analysis.capture.stretch import Stretch, Stretcher

RETRANSMISSION, REINJECTION = 1, 2
"""Of ``packet_tables.REPEATS``. A segment that is both is a retransmission."""


class Places:
    """Takes the batches in order, as the measures do."""

    def __init__(self, capture: Readable, resolution: Resolution) -> None:
        self._stretcher = stretcher = Stretcher(resolution, capture.layouts)
        stream_line = Line(stretcher.streams)
        self._mapper = Mapper(stretcher, stream_line)
        self._sending = Sending(stretcher, stream_line, Line(stretcher.fluxes))
        connections = resolution.connections
        self._wide = np.array([wide for item in connections for wide in item.dsn_wide] or [False], bool)
        known = [isn is not None for subflow in resolution.subflows for isn in subflow.isn]
        self._isn_known = np.array(known or [False], bool)
        bases = [base for subflow in resolution.subflows for base in subflow.sequence_base]
        self._base = np.array(bases or [0], np.uint64)

    def take(self, batch: Batch) -> tuple[Stretch, Resolved]:
        """The next batch."""
        stretch = self._stretcher.take(batch)
        sent = self._sending.take(stretch, self._mapper.take(stretch))
        there = stretch.stream >= 0
        mptcp = there & (self._stretcher.mptcp[stretch.flux] if self._stretcher.fluxes else False)
        position, has_position = self._positions(stretch, sent, mptcp)
        acknowledged, has_acknowledged = self._acknowledged(stretch, mptcp)
        repeat = np.where(sent.retransmission, RETRANSMISSION, np.where(sent.reinjection, REINJECTION, 0))
        return stretch, Resolved(
            connection=stretch.flux >> 1,
            subflow=stretch.subflow,
            direction=stretch.direction,
            ssn=stretch.start,
            has_ssn=there & self._isn_known[stretch.stream],
            position=position,
            has_position=has_position,
            acknowledged=acknowledged,
            has_acknowledged=has_acknowledged,
            repeat=repeat,
        )

    def _positions(
        self, stretch: Stretch, sent: Sent, mptcp: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """DSN of the first octet of payload, where all of the payload is mapped; plain TCP: its sequence number."""
        pieces = sent.pieces
        here = pieces.row >= 0
        rows, first = np.unique(pieces.row[here], return_index=True)
        mapped = np.zeros(len(stretch.payload), np.int64)
        np.add.at(mapped, pieces.row[here], (pieces.end - pieces.start)[here])
        offset: Int64s = np.zeros(len(stretch.payload), np.int64)
        offset[rows] = pieces.start[here][first]
        whole = (stretch.payload > 0) & (mapped == stretch.payload)
        known = whole & np.where(mptcp, self._wide[stretch.flux], whole)
        return self._absolute(stretch, mptcp, offset, 0), known

    def _acknowledged(self, stretch: Stretch, mptcp: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        offset = np.where(mptcp, stretch.data_ack, stretch.ack)
        dsn_known = stretch.has_data_ack & self._wide[stretch.flux ^ 1]
        known = np.where(mptcp, dsn_known, stretch.has_ack & (stretch.stream >= 0))
        return self._absolute(stretch, mptcp, offset, 1), known

    def _absolute(self, stretch: Stretch, mptcp: NDArray[np.bool_], offset: Int64s, turn: int) -> NDArray[np.uint64]:
        idsn = self._stretcher.idsn if len(self._stretcher.idsn) else self._base
        flux = np.where(stretch.flux >= 0, stretch.flux ^ turn, 0)
        stream = np.where(stretch.stream >= 0, stretch.stream ^ turn, 0)
        result: NDArray[np.uint64] = np.where(mptcp, idsn[flux], self._base[stream]) + offset.view(np.uint64)
        return result
