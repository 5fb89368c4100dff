"""The second pass: every batch through every accumulator, in the order in which one needs the other."""

from __future__ import annotations

import numpy as np

from analysis.capture.batch import Batch
from analysis.capture.head_of_line import HeadOfLine
from analysis.capture.intervals import Int64s, Line
from analysis.capture.mapping import Mapper
from analysis.capture.reordering import Reordering
from analysis.capture.resolution import Readable, Resolution
from analysis.capture.rtt import RoundTrips
from analysis.capture.sending import Sending, Sent
from analysis.capture.stretch import Stretch, Stretcher
from analysis.capture.totals import Series, Totals


class Measures:
    """All accumulators of one capture."""

    def __init__(self, capture: Readable, resolution: Resolution) -> None:
        survey = resolution.survey
        self.resolution = resolution
        self.stretcher = stretcher = Stretcher(resolution, capture.layouts)
        stream_line, flux_line = Line(stretcher.streams), Line(stretcher.fluxes)
        self._flux_line = flux_line
        self._mapper = Mapper(stretcher, stream_line)
        self.sending = Sending(stretcher, stream_line, flux_line)
        self.totals = Totals(stretcher, capture.layouts)
        self.series = Series(survey.first_ns or 0, survey.last_ns or 0)
        self.rtt = RoundTrips(stream_line, stretcher.streams)
        self.reordering = Reordering(stream_line, stretcher.streams, flux_line, stretcher.fluxes)
        self.head_of_line = HeadOfLine(flux_line, stretcher.fluxes, np.ones(stretcher.fluxes, np.int64))
        self.sequence_octets: Int64s = np.zeros(stretcher.streams, np.int64)
        self.unmapped: Int64s = np.zeros(stretcher.streams, np.int64)

    def take(self, batch: Batch) -> tuple[Stretch, Sent]:
        """The next batch."""
        stretch = self.stretcher.take(batch)
        sent = self.sending.take(stretch, self._mapper.take(stretch))
        self.totals.take(stretch)
        self.series.take(stretch, sent)
        self.rtt.take(stretch, sent)
        self.reordering.take(stretch, sent)
        self.head_of_line.take(stretch, sent)
        self._acknowledge(stretch)
        return stretch, sent

    def _acknowledge(self, stretch: Stretch) -> None:
        rows = np.flatnonzero(stretch.has_data_ack)
        flux = stretch.flux[rows] ^ 1
        plain = np.flatnonzero(stretch.has_ack & ~stretch.rst)
        plain = plain[~self.stretcher.mptcp[stretch.flux[plain]]] if len(plain) else plain
        flux = np.concatenate((flux, stretch.flux[plain] ^ 1))
        offset = np.concatenate((stretch.data_ack[rows], stretch.ack[plain]))
        self.head_of_line.acknowledged(flux, self._flux_line.place(flux, offset))

    def finish(self) -> None:
        """All batches were taken."""
        self.sequence_octets = self.sending.sent_octets()
        self.unmapped = self._mapper.unmapped(self.stretcher.streams)

    def fell_back(self, connection: int) -> bool:
        """Whether octets without a mapping are data all the same: one subflow that went on as TCP."""
        item = self.resolution.connections[connection]
        return item.mptcp and len(item.subflows) == 1
