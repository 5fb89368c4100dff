"""A batch with what its numbers mean: subflow, direction, offsets in sequence space, DSNs widened, mappings.

Offsets are relative: SYN 0, first octet of data 1 (RFC 8684 figure 3 counts subflow sequence numbers so), of DSNs from
the IDSN likewise. A *stream* is a subflow in one direction (2 x subflow + direction), a *flux* a connection in one
direction (2 x connection + direction): acknowledgments in a stream are of its partner, stream ^ 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture import handshake
from analysis.capture.batch import CUT_HEADER, DSS_CHECKSUM, DSS_DATA_FIN, DSS_PRESENT, Batch, Layout
from analysis.capture.intervals import MAX_SLOTS
from analysis.capture.ordering import stable_order
from analysis.capture.resolution import Resolution
from analysis.capture.survey import ACK, FIN, RST, SYN
from analysis.capture.widening import Unwrapper, offsets_of

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

INFINITE: Final = 1 << 36
"""Length given to an infinite mapping: more than any subflow carries behind it."""
_M: Final = 0x04
_NARROW: Final = np.uint64(0xFFFFFFFF)


@dataclass(slots=True)
class Stretch:
    """All columns are in the order of the batch and of its length; what a row does not have is told by a mask."""

    batch: Batch
    rows: Int64s
    """Packets that belong to a subflow and whose TCP header is whole, sorted by stream (within one in their order):
    the others take part in nothing."""
    subflow: NDArray[np.int32]
    direction: NDArray[np.int8]
    stream: Int64s
    """-1 where the row is not in ``rows``."""
    flux: Int64s
    slot: Int64s
    time_ns: Int64s
    payload: Int64s
    syn: Bools
    fin: Bools
    rst: Bools
    has_ack: Bools
    has_timestamps: Bools
    start: Int64s
    """Offset of the first octet of data (behind the SYN)."""
    ack: Int64s
    """Offset in the partner's sequence space."""
    has_map: Bools
    """A mapping of data: of a DSS or of an MP_CAPABLE with data; not a bare DATA_FIN."""
    map_dsn: Int64s
    map_ssn: Int64s
    map_length: Int64s
    """Octets of data, the DATA_FIN not counted; :data:`INFINITE`."""
    map_checksum: Int64s
    """-1: none."""
    data_fin: Bools
    fin_dsn: Int64s
    """Of the DATA_FIN."""
    has_data_ack: Bools
    data_ack: Int64s
    """Offset in the DSNs of the other direction."""
    has_dsn: Bools
    dsn: Int64s
    """Offset of the DSN as it stands in the DSS."""


class Stretcher:
    """Makes stretches of the batches of one capture, in order."""

    def __init__(self, resolution: Resolution, layouts: Any) -> None:
        self.resolution = resolution
        self._layouts = layouts
        subflows, connections = resolution.subflows, resolution.connections
        self.streams = 2 * len(subflows)
        self.fluxes = 2 * len(connections)
        self._base = np.array([base for subflow in subflows for base in subflow.sequence_base], np.uint32)
        self.flux_of_stream: Int64s = np.array(
            [2 * subflow.connection + direction for subflow in subflows for direction in (0, 1)], np.int64
        )
        self.slot_of_stream: Int64s = np.array(
            [min(subflow.slot, MAX_SLOTS - 1) for subflow in subflows for _ in (0, 1)], np.int64
        )
        self.mptcp: Bools = np.array([connection.mptcp for connection in connections for _ in (0, 1)], bool)
        self.idsn = np.array([value or 0 for connection in connections for value in connection.idsn_seen], np.uint64)
        self._seq = Unwrapper(self.streams)
        self._ack = Unwrapper(self.streams)
        self._dsn = Unwrapper(self.fluxes)
        self._data_ack = Unwrapper(self.fluxes)
        self._has_timestamps: Bools = np.empty(0, bool)

    def take(self, batch: Batch) -> Stretch:
        """The next batch."""
        subflow, direction = self.resolution.both(batch)
        whole = (subflow >= 0) & ((batch.status & CUT_HEADER) == 0)
        stream = np.where(whole, subflow.astype(np.int64) * 2 + direction, -1)
        rows = np.flatnonzero(whole)
        rows = rows[stable_order(stream[rows], self.streams)]
        flux = np.where(whole, self.flux_of_stream[stream], -1) if self.streams else stream
        slot = self.slot_of_stream[stream] if self.streams else stream
        syn = whole & ((batch.flags & SYN) != 0)
        has_ack = whole & ((batch.flags & ACK) != 0)
        seq, ack = self._sequence(batch, rows, stream, has_ack)
        start = seq + syn
        bits = batch.dss_bits
        dss = whole & ((bits & DSS_PRESENT) != 0)
        has_dsn = dss & ((bits & _M) != 0) & (batch.dsn_octets > 0)
        dsn = self._widened(self._dsn, batch.dsn, batch.dsn_octets, has_dsn, flux, 0)
        has_data_ack = dss & (batch.data_ack_octets > 0)
        data_ack = self._widened(self._data_ack, batch.data_ack, batch.data_ack_octets, has_data_ack, flux, 1)
        data_fin = has_dsn & ((bits & DSS_DATA_FIN) != 0)
        length = batch.dss_length.astype(np.int64) - data_fin
        infinite = has_dsn & (batch.dss_length == 0)
        map_length = np.where(infinite, INFINITE, length)
        near = (batch.dss_ssn - start.astype(np.uint32)).view(np.int32).astype(np.int64)
        stretch = Stretch(
            batch=batch,
            rows=rows,
            subflow=subflow,
            direction=direction,
            stream=stream,
            flux=flux,
            slot=slot,
            time_ns=batch.time_ns,
            payload=np.where(whole, batch.payload, 0).astype(np.int64),
            syn=syn,
            fin=whole & ((batch.flags & FIN) != 0),
            rst=whole & ((batch.flags & RST) != 0),
            has_ack=has_ack,
            has_timestamps=self._timestamps(batch),
            start=start,
            ack=ack,
            has_map=has_dsn & (map_length > 0),
            map_dsn=dsn,
            map_ssn=start + near,
            map_length=map_length,
            map_checksum=np.where(dss & ((bits & DSS_CHECKSUM) != 0), batch.dss_checksum.astype(np.int64), -1),
            data_fin=data_fin,
            fin_dsn=dsn + length,
            has_data_ack=has_data_ack,
            data_ack=data_ack,
            has_dsn=has_dsn,
            dsn=dsn,
        )
        self._capable_data(stretch)
        return stretch

    def _sequence(self, batch: Batch, rows: Int64s, stream: Int64s, has_ack: Bools) -> tuple[Int64s, Int64s]:
        seq = np.zeros(len(batch), np.int64)
        ack = np.zeros(len(batch), np.int64)
        names = stream[rows]
        seq[rows] = self._seq.take(names, (batch.seq[rows] - self._base[names]).astype(np.int64))
        ordered = rows[has_ack[rows]]
        names = stream[ordered]
        ack[ordered] = self._ack.take(names, (batch.ack[ordered] - self._base[names ^ 1]).astype(np.int64))
        return seq, ack

    def _widened(
        self,
        unwrapper: Unwrapper,
        values: NDArray[np.uint64],
        octets: NDArray[np.uint8],
        there: Bools,
        flux: Int64s,
        turn: int,
    ) -> Int64s:
        result = np.zeros(len(values), np.int64)
        rows = np.flatnonzero(there)
        if not len(rows):
            return result
        ordered = rows[stable_order(flux[rows], self.fluxes)]
        names = flux[ordered]
        base = self.idsn[names ^ turn]
        exact = octets[ordered] == 8
        offset = offsets_of(values[ordered], base)
        narrow = ((values[ordered] - base) & _NARROW).astype(np.int64)
        result[ordered] = unwrapper.take(names, np.where(exact, offset, narrow), exact)
        return result

    def _timestamps(self, batch: Batch) -> Bools:
        known = len(self._has_timestamps)
        if len(self._layouts) > known:
            layouts: list[Layout] = self._layouts[known:]
            more = [any(name == "timestamps" for name, _ in layout.items) for layout in layouts]
            self._has_timestamps = np.concatenate((self._has_timestamps, np.array(more, bool)))
        return self._has_timestamps[batch.layout]

    def _capable_data(self, stretch: Stretch) -> None:
        """The mapping that MP_CAPABLE carries with the first data: from IDSN + 1, SSN 1 on (RFC 8684 section 3.1)."""
        rare = stretch.batch.rare
        found = np.flatnonzero(
            (rare.kind == handshake.KIND_MPTCP) & (rare.subtype == handshake.MP_CAPABLE) & (rare.size >= 22)
        )
        found = found[(stretch.stream[rare.row[found]] >= 0) & (stretch.payload[rare.row[found]] > 0)]
        if not len(found):
            return
        rows = rare.row[found]
        stretch.has_map[rows] = True
        stretch.map_dsn[rows] = 1
        stretch.map_ssn[rows] = 1
        stretch.map_length[rows] = rare.octets[found, 20].astype(np.int64) * 256 + rare.octets[found, 21]
        checksum = rare.octets[found, 22].astype(np.int64) * 256 + rare.octets[found, 23]
        stretch.map_checksum[rows] = np.where(rare.size[found] == 24, checksum, -1)
