"""Captures without a file: packets given as values become batches, as the reader would make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.capture.batch import DENSE, DSS_DATA_FIN, DSS_PRESENT, Batch, Flow, Layout, RareOptions, SackBlocks

SYN, FIN, RST, ACK = 0x02, 0x01, 0x04, 0x10
TYPES = {name: Batch.__annotations__[name] for name in DENSE}
_DTYPES = {
    "Int64s": np.int64,
    "Int32s": np.int32,
    "UInt64s": np.uint64,
    "UInt32s": np.uint32,
    "UInt16s": np.uint16,
    "UInt8s": np.uint8,
}


@dataclass
class Made:
    """One packet. Sequence numbers as they are before they are cut to 32 bits."""

    source: tuple[bytes, int]
    destination: tuple[bytes, int]
    time_ns: int = 0
    seq: int = 0
    ack: int | None = None
    flags: int = 0
    payload: int = 0
    timestamps: tuple[int, int] | None = None
    mapping: tuple[int, int, int] | None = None
    """DSN, SSN, length as on the wire."""
    dsn_octets: int = 8
    data_ack: int | None = None
    data_ack_octets: int = 8
    data_fin: bool = False
    options: Sequence[bytes] = ()
    """Rare options."""


@dataclass
class MadeCapture:
    """What ``resolve`` and the measures read."""

    packets: Sequence[Made]
    size: int = 1 << 20
    """Packets in a batch."""
    flows: list[Flow] = field(default_factory=list)
    layouts: list[Layout] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layouts += [Layout((), 0, 0, ""), Layout((("timestamps", 10), ("nop", 1), ("nop", 1)), 12, 2, "ts")]

    def batches(self) -> Iterator[Batch]:
        for first in range(0, len(self.packets), self.size):
            yield self._batch(first, self.packets[first : first + self.size])

    def _flow(self, packet: Made) -> int:
        version = 4 if len(packet.source[0]) == 4 else 6
        flow = Flow(version, packet.source[0], packet.destination[0], packet.source[1], packet.destination[1])
        if flow not in self.flows:
            self.flows.append(flow)
        return self.flows.index(flow)

    def _batch(self, first: int, packets: Sequence[Made]) -> Batch:
        columns = {name: np.zeros(len(packets), _DTYPES[TYPES[name]]) for name in DENSE}
        rare: list[tuple[int, bytes]] = []
        for row, packet in enumerate(packets):
            values = {
                "frame": first + row + 1,
                "time_ns": packet.time_ns,
                "captured_octets": 54 + packet.payload,
                "wire_octets": 54 + packet.payload,
                "flow": self._flow(packet),
                "seq": packet.seq % 2**32,
                "ack": (packet.ack or 0) % 2**32,
                "flags": packet.flags | (ACK if packet.ack is not None else 0),
                "tcp_header_octets": 20 + (12 if packet.timestamps else 0),
                "payload": packet.payload,
                "layout": 1 if packet.timestamps else 0,
            }
            if packet.timestamps:
                values |= {"tsval": packet.timestamps[0] % 2**32, "tsecr": packet.timestamps[1] % 2**32}
            bits = 0
            if packet.mapping is not None:
                dsn, ssn, length = packet.mapping
                bits |= DSS_PRESENT | 0x04 | (0x08 if packet.dsn_octets == 8 else 0)
                bits |= DSS_DATA_FIN if packet.data_fin else 0
                values |= {"dsn": dsn % 2 ** (8 * packet.dsn_octets), "dsn_octets": packet.dsn_octets}
                values |= {"dss_ssn": ssn % 2**32, "dss_length": length}
            if packet.data_ack is not None:
                bits |= DSS_PRESENT | 0x01 | (0x02 if packet.data_ack_octets == 8 else 0)
                values |= {
                    "data_ack": packet.data_ack % 2 ** (8 * packet.data_ack_octets),
                    "data_ack_octets": packet.data_ack_octets,
                }
            values["dss_bits"] = bits
            for name, value in values.items():
                columns[name][row] = value
            rare += [(row, octets) for octets in packet.options]
        area = np.zeros((len(rare), 40), np.uint8)
        for number, (_, octets) in enumerate(rare):
            area[number, : len(octets)] = list(octets)
        kinds = area[:, 0]
        none = np.empty(0, np.int64)
        return Batch(
            **columns,
            sack=SackBlocks(none, none.astype(np.uint8), none.astype(np.uint32), none.astype(np.uint32)),
            rare=RareOptions(
                np.array([row for row, _ in rare], np.int64),
                kinds,
                np.where(kinds == 30, area[:, 2] >> 4, 255).astype(np.uint8),
                np.array([len(octets) for _, octets in rare], np.uint8),
                area,
            ),
        )
