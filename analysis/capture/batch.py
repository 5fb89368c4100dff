"""What the reader gives: the TCP packets of one stretch of a capture, as columns.

A column is a numpy array with one value for each packet. What a packet does not have (timestamps, a DSN ...) is zero in
its column and told by another one: ``layout`` for the options, ``dsn_octets``, ``data_ack_octets``, ``dss_bits``.
Sequence numbers are as on the wire; widening to 64 bits is the business of the connection they belong to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
UInt64s = NDArray[np.uint64]
UInt32s = NDArray[np.uint32]
UInt16s = NDArray[np.uint16]
UInt8s = NDArray[np.uint8]

DSS_PRESENT = 0x80
DSS_CHECKSUM = 0x40
DSS_REPEATED = 0x20
"""A second DSS on the same segment: the columns hold the first."""
DSS_DATA_FIN = 0x10
"""Bits of ``dss_bits``; the lower four are A, a, M, m as on the wire (RFC 8684 section 3.3)."""

CUT_OPTIONS = 0x01
"""The capture ends within the option area: options after the cut are not known, and none is guessed."""
MALFORMED_OPTIONS = 0x02
"""A length in the option area cannot be: what comes after it is not known."""
CUT_HEADER = 0x04
"""The capture ends within the fixed TCP header: ports may be known, the rest is zero."""
BAD_OPTION = 0x08
"""An option has a length that its kind does not allow; the option is passed over (its octets are in ``rare``)."""
FRAGMENT = 0x10
"""The first fragment of an IP packet: ``payload`` is what this fragment has."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a pair of ends."""

    version: int
    """Of IP: 4 or 6."""
    source: bytes
    destination: bytes
    """Addresses, 4 or 16 octets."""
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The option area of a packet without its values: which options, in which order, of which sizes, what padding.

    A capture with thousands of layouts has some that stand for several: their octets and padding are right, and of
    their items they tell only whether timestamps are there.
    """

    items: tuple[tuple[str, int], ...]
    """(name, octets) in wire order. Names are the ledger's (timestamps, sack, dss, add_addr, ... kind-N), ``nop``,
    ``eol``; a DSS as its form, such as ``dss`` with its size, its flags in ``text``."""
    octets: int
    """Of the area."""
    padding: int
    """NOP and EOL octets."""
    text: str
    """For people and as a dictionary column: ``nop nop timestamps:10 nop nop sack:18 dss:12(A8)``."""


@dataclass(frozen=True, slots=True)
class SackBlocks:
    """The SACK blocks of a batch, one row for each block, in the order of packets and of the wire."""

    row: Int64s
    """Index of the packet in the batch."""
    index: UInt8s
    """Of the block in its option, from 0."""
    left: UInt32s
    right: UInt32s


@dataclass(frozen=True, slots=True)
class RareOptions:
    """Every option other than NOP, EOL and the first well-formed timestamps, SACK and DSS, with its octets: one row for
    each. Also those of a length that their kind does not allow; ``rare_options.decode`` gives them as Unknown."""

    row: Int64s
    """Index of the packet in the batch."""
    kind: UInt8s
    subtype: UInt8s
    """Of kind 30; 255 for other kinds."""
    size: UInt8s
    octets: UInt8s
    """Shape (rows, 40): the option as on the wire, kind and length included, zeros behind ``size``."""


@dataclass(slots=True)
class Batch:
    """Packets in the order of the file. All columns have the same length."""

    frame: Int64s
    """Number in the file, from 1, packets that are not TCP counted."""
    time_ns: Int64s
    """Since the epoch."""
    interface: UInt16s
    """Of the capture (pcapng); 0 otherwise."""
    captured_octets: UInt32s
    wire_octets: UInt32s
    """Of the frame, link header included."""
    flow: Int32s
    """Index into the capture's flows."""
    seq: UInt32s
    ack: UInt32s
    window: UInt16s
    """As on the wire, not scaled."""
    flags: UInt16s
    """12 bits: reserved, NS/AE, CWR, ECE, URG, ACK, PSH, RST, SYN, FIN."""
    tcp_header_octets: UInt8s
    payload: UInt32s
    """Octets of TCP payload on the wire, whether captured or not."""
    ttl: UInt8s
    """IPv4 TTL or IPv6 hop limit."""
    traffic_class: UInt8s
    """IPv4 TOS or IPv6 traffic class: DSCP and ECN."""
    layout: UInt16s
    """Index into the capture's layouts."""
    tsval: UInt32s
    tsecr: UInt32s
    dss_bits: UInt8s
    dsn: UInt64s
    dsn_octets: UInt8s
    """0, 4 or 8."""
    data_ack: UInt64s
    data_ack_octets: UInt8s
    """0, 4 or 8."""
    dss_ssn: UInt32s
    """Relative subflow sequence number of the mapping."""
    dss_length: UInt16s
    """Data-level length of the mapping."""
    dss_checksum: UInt16s
    sack_count: UInt8s
    status: UInt8s
    """CUT_OPTIONS and the others; 0: all there and well formed."""
    sack: SackBlocks
    rare: RareOptions

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The dense columns of some packets (a mask or indices), by name."""
        return {name: getattr(self, name)[rows] for name in DENSE}


DENSE: Sequence[str] = tuple(name for name in Batch.__annotations__ if name not in ("sack", "rare"))
"""Names of the columns with one value for each packet."""


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches that follow each other as one."""
    if len(batches) == 1:
        return batches[0]
    dense = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in DENSE}
    starts = np.cumsum([0, *(len(batch) for batch in batches[:-1])])

    def sparse(part: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        tables = [getattr(batch, part) for batch in batches]
        columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
        columns["row"] = np.concatenate([table.row + start for table, start in zip(tables, starts, strict=True)])
        return columns

    return Batch(
        **dense,
        sack=SackBlocks(**sparse("sack", ("index", "left", "right"))),
        rare=RareOptions(**sparse("rare", ("kind", "subtype", "size", "octets"))),
    )
