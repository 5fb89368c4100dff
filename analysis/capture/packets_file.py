"""``packets.parquet``: batches streamed into one file, row group by row group, in constant memory.

The file is there whole or not at all: it is written under a temporary name and renamed by :meth:`PacketsFile.close`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, DSS_CHECKSUM, DSS_PRESENT, Batch, Flow, Layout
from analysis.capture.packet_tables import PACKETS, REPEATS, STATUS_WORDS
from analysis.capture.reader import open_capture
from analysis.capture.records import NO_TIME
from testbed.record.files import space_needed_for, sync_directory
from testbed.record.parquet import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa

Mask = NDArray[np.bool_]

ROWS_IN_GROUP: Final = 1 << 16
_ACK: Final = 0x10
_DSS_FLAGS: Final = 0x1F
_DIFFERENT: Final = frozenset(
    (
        *("frame", "time_ns", "seq", "ack", "tsval", "tsecr"),
        *("data_ack", "dsn", "dss_ssn", "dss_checksum", "ssn", "position", "acknowledged"),
    )
)
"""Columns whose values hardly repeat: a dictionary of them costs time and gains nothing."""
_NEARLY_CONSTANT: Final = frozenset(("interface", "ttl", "traffic_class", "sack_blocks"))
"""Columns that compress to nothing as they are."""
_RISING: Final = ("frame", "time_ns")
"""Columns of which the differences are small."""
_VALUES_AT_ONCE: Final = 1 << 14
_LOOKED_FOR: Final = ("frame", "time_ns", "connection", "subflow", "direction", "position")
"""Columns by which row groups are passed over: they carry their least and greatest values."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the packets of a batch belong to. A value that is not known is told by its mask, or is negative."""

    connection: NDArray[np.integer[Any]]
    """-1: none."""
    subflow: NDArray[np.integer[Any]]
    direction: NDArray[np.integer[Any]]
    ssn: NDArray[np.int64]
    has_ssn: Mask
    position: NDArray[np.uint64]
    has_position: Mask
    acknowledged: NDArray[np.uint64]
    has_acknowledged: Mask
    repeat: NDArray[np.integer[Any]]
    """0: none, 1: retransmission, 2: reinjection."""


class Source(Protocol):
    """Where batches come from: an open capture."""

    @property
    def flows(self) -> Sequence[Flow]:
        """By the numbers in ``Batch.flow``."""

    @property
    def layouts(self) -> Sequence[Layout]:
        """By the numbers in ``Batch.layout``."""


class PacketsFile:
    """Takes batches, in order; ``close`` puts the file in its place, leaving the block by an error leaves none."""

    def __init__(self, path: Path, capture: Source) -> None:
        """``capture``: where the batches come from."""
        import pyarrow.parquet as pq

        self.path = path
        self.rows = 0
        """Written so far."""
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._capture = capture
        self._schema = arrow_schema(PACKETS, encoded=True)
        self._waiting: list[tuple[Batch, Resolved | None]] = []
        self._waiting_rows = 0
        # a row group is encoded while the packets of the next are read
        self._encoder = ThreadPoolExecutor(1, "parquet")
        self._encoding: Future[None] | None = None
        with space_needed_for(path.name, path.parent):
            self._writer = pq.ParquetWriter(
                self._temporary,
                self._schema,
                compression="zstd",
                use_dictionary=[name for name in self._schema.names if name not in _DIFFERENT | _NEARLY_CONSTANT],
                column_encoding=dict.fromkeys(_RISING, "DELTA_BINARY_PACKED"),
                write_batch_size=_VALUES_AT_ONCE,
                write_statistics=list(_LOOKED_FOR),
            )

    def take(self, batch: Batch, resolved: Resolved | None = None) -> None:
        """The next packets of the file. They are kept until a row group is full."""
        self._waiting.append((batch, resolved))
        self._waiting_rows += len(batch)
        if self._waiting_rows >= ROWS_IN_GROUP:
            self._write()

    def close(self) -> None:
        """Write what waits and put the file in its place; raises RecordError, and leaves nothing then."""
        try:
            self._write()
            self._encoded()
            self._encoder.shutdown()
            with space_needed_for(self.path.name, self.path.parent):
                self._writer.close()
                with self._temporary.open("rb") as file:
                    os.fsync(file.fileno())
                self._temporary.replace(self.path)
                sync_directory(self.path.parent)
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind."""
        self._encoder.shutdown()
        try:
            with contextlib.suppress(OSError):  # of a full disk, again
                self._writer.close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> PacketsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _write(self) -> None:
        import pyarrow as pa

        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        if waiting:
            shared = _Shared([batch for batch, _ in waiting], self._capture.flows, self._capture.layouts)
            pieces = [
                pa.record_batch(self._columns(batch, resolved, shared), schema=self._schema)
                for batch, resolved in waiting
            ]
            table = pa.Table.from_batches(pieces, self._schema)
            self.rows += table.num_rows
            self._encoded()
            self._encoding = self._encoder.submit(self._encode, table)

    def _encode(self, table: pa.Table) -> None:
        with space_needed_for(self.path.name, self.path.parent):
            self._writer.write_table(table, row_group_size=table.num_rows)

    def _encoded(self) -> None:
        """Wait for the row group before; raises what went wrong with it."""
        if self._encoding is not None:
            encoding, self._encoding = self._encoding, None
            encoding.result()

    def _columns(self, batch: Batch, resolved: Resolved | None, shared: _Shared) -> list[pa.Array]:
        import pyarrow as pa

        whole = batch.status & CUT_HEADER == 0
        # the area of a malformed header is given as empty: then its size, and that of the payload, are not known
        sized = whole & (shared.area_octets.take(batch.layout) + 20 == batch.tcp_header_octets)
        timestamps = shared.has_timestamps.take(batch.layout)
        dss = batch.dss_bits & DSS_PRESENT != 0
        mapped = batch.dsn_octets > 0
        flow = shared.place.take(batch.flow)
        columns = {
            "frame": pa.array(batch.frame),
            "time_ns": _nullable(batch.time_ns, batch.time_ns != NO_TIME),
            "interface": pa.array(batch.interface),
            "captured_octets": pa.array(batch.captured_octets),
            "wire_octets": pa.array(batch.wire_octets),
            "source": pa.DictionaryArray.from_arrays(shared.source.take(flow), shared.addresses),
            "source_port": pa.array(shared.source_port.take(flow)),
            "destination": pa.DictionaryArray.from_arrays(shared.destination.take(flow), shared.addresses),
            "destination_port": pa.array(shared.destination_port.take(flow)),
            "ttl": pa.array(batch.ttl),
            "traffic_class": pa.array(batch.traffic_class),
            "flags": _nullable(batch.flags, whole),
            "seq": _nullable(batch.seq, whole),
            "ack": _nullable(batch.ack, batch.flags & _ACK != 0),
            "window": _nullable(batch.window, whole),
            "tcp_header_octets": _nullable(batch.tcp_header_octets, whole),
            "payload": _nullable(batch.payload, sized),
            "options": pa.DictionaryArray.from_arrays(batch.layout.astype(np.int32), shared.options),
            "tsval": _nullable(batch.tsval, timestamps),
            "tsecr": _nullable(batch.tsecr, timestamps),
            "sack_blocks": pa.array(batch.sack_count),
            "dss_flags": _nullable(batch.dss_bits & np.uint8(_DSS_FLAGS), dss),
            "data_ack": _nullable(batch.data_ack, batch.data_ack_octets > 0),
            "dsn": _nullable(batch.dsn, mapped),
            "dss_ssn": _nullable(batch.dss_ssn, mapped),
            "dss_length": _nullable(batch.dss_length, mapped),
            "dss_checksum": _nullable(batch.dss_checksum, batch.dss_bits & DSS_CHECKSUM != 0),
            "status": pa.DictionaryArray.from_arrays(batch.status.astype(np.int32), shared.statuses),
            **_resolved_columns(resolved, len(batch), shared),
        }
        return [columns[name] for name in self._schema.names]


class _Shared:
    """What the batches of one row group are written with: texts once for all of them."""

    def __init__(self, batches: Sequence[Batch], flows: Sequence[Flow], layouts: Sequence[Layout]) -> None:
        import pyarrow as pa

        used = np.unique(np.concatenate([batch.flow for batch in batches]))
        found = [flows[int(number)] for number in used]
        self.place = np.zeros(len(flows), dtype=np.int32)
        """Of a flow among those that are used."""
        self.place[used] = np.arange(len(used))
        numbers: dict[bytes, int] = {}
        self.source = _numbered([flow.source for flow in found], numbers)
        self.destination = _numbered([flow.destination for flow in found], numbers)
        self.source_port = np.array([flow.source_port for flow in found], dtype=np.uint16)
        self.destination_port = np.array([flow.destination_port for flow in found], dtype=np.uint16)
        self.addresses = pa.array([str(ipaddress.ip_address(address)) for address in numbers], pa.string())
        self.options = pa.array([layout.text for layout in layouts], pa.string())
        self.area_octets = np.array([layout.octets for layout in layouts], dtype=np.uint8)
        self.has_timestamps = np.array([("timestamps", 10) in layout.items for layout in layouts], dtype=np.bool_)
        self.statuses = pa.array([_status_in_words(bits) for bits in range(1 << len(STATUS_WORDS))], pa.string())
        self.repeats = pa.array(REPEATS, pa.string())


def _numbered(addresses: Sequence[bytes], numbers: dict[bytes, int]) -> NDArray[np.int32]:
    return np.array([numbers.setdefault(address, len(numbers)) for address in addresses], dtype=np.int32)


def _status_in_words(bits: int) -> str:
    return " ".join(word for place, word in enumerate(STATUS_WORDS) if bits >> place & 1)


def _nullable(values: NDArray[Any], there: Mask) -> pa.Array:
    import pyarrow as pa

    return pa.array(values) if there.all() else pa.array(values, mask=~there)


def _resolved_columns(resolved: Resolved | None, rows: int, shared: _Shared) -> dict[str, pa.Array]:
    import pyarrow as pa

    if resolved is None:
        names = ("connection", "subflow", "direction", "ssn", "position", "acknowledged", "repeat")
        columns = {name: PACKETS.column(name) for name in names}
        kinds = {"text": pa.dictionary(pa.int32(), pa.string())}
        return {name: pa.nulls(rows, kinds.get(one.type) or getattr(pa, one.type)()) for name, one in columns.items()}
    there = resolved.subflow >= 0
    repeat = pa.array(resolved.repeat.astype(np.int32), mask=~there)
    return {
        "connection": _nullable(resolved.connection.astype(np.int32), resolved.connection >= 0),
        "subflow": _nullable(resolved.subflow.astype(np.int32), there),
        "direction": _nullable(resolved.direction.astype(np.uint8), there & (resolved.direction >= 0)),
        "ssn": _nullable(resolved.ssn, resolved.has_ssn),
        "position": _nullable(resolved.position, resolved.has_position),
        "acknowledged": _nullable(resolved.acknowledged, resolved.has_acknowledged),
        "repeat": pa.DictionaryArray.from_arrays(repeat, shared.repeats),
    }


def write_packets(path: str | os.PathLike[str], directory: Path) -> int:
    """``packets.parquet`` of a capture, without saying which connection a packet belongs to; gives its rows.

    Raises CaptureError, and RecordError when it cannot be written; then nothing is left.
    """
    with open_capture(path) as capture, PacketsFile(directory / "packets.parquet", capture) as file:
        for batch in capture.batches():
            file.take(batch)
    return file.rows
