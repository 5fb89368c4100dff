"""One chunk of records to a batch: link layer, IP, TCP, options, flows, each for all packets at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.capture import reasons
from analysis.capture.batch import FRAGMENT, Batch
from analysis.capture.flows import Flows
from analysis.capture.ip import Located, locate_ipv4, locate_ipv6
from analysis.capture.layouts import Layouts
from analysis.capture.link_layers import locate_network
from analysis.capture.octets import Octets, Places
from analysis.capture.rare_options import rare_options
from analysis.capture.records import Records
from analysis.capture.tcp import FIXED, HotOptions, TcpHeaders, options_of, ports_captured

Rows = NDArray[np.int64]


@dataclass(slots=True)
class Dissected:
    """A batch, and what is said of the packets that are not in it."""

    batch: Batch
    not_tcp: dict[int, int]
    """Number of packets by the number of the reason (:mod:`analysis.capture.reasons`)."""
    truncated: int
    incomplete: int
    fragments: int


@dataclass(slots=True)
class _Transport:
    """Packets of one version of IP that are rows of the batch."""

    version: int
    rows: Rows
    """In the chunk."""
    located: Located
    available: NDArray[np.int64]


def dissect(records: Records, flows: Flows, layouts: Layouts) -> Dissected:
    """The TCP packets of a chunk; new flows and layouts are added to those given."""
    octets = Octets(records.buffer, int(records.offset[-1]) + int(records.captured[-1]))
    offset = records.offset
    captured = records.captured.astype(np.int64)
    # some files say less than they have
    wire = np.maximum(records.wire, records.captured).astype(np.int64)
    end = offset + captured
    network, reason = locate_network(octets, offset, end, records.link)
    skipped = network - offset
    parts = []
    for version, ethertype in ((4, reasons.ETHERTYPE_IPV4), (6, reasons.ETHERTYPE_IPV6)):
        rows = np.flatnonzero(reason == ethertype)
        if len(rows):
            parts.append(_transport(octets, version, rows, network, captured - skipped, wire - skipped, reason))
    return _batch(records, octets, parts, reason, wire, flows, layouts)


def _transport(
    octets: Octets,
    version: int,
    rows: Rows,
    network: Places,
    captured: NDArray[np.int64],
    wire: NDArray[np.int64],
    reason: NDArray[np.int32],
) -> _Transport:
    """TCP headers of the packets of one version; the others get their reason."""
    every = len(rows) == len(network)
    if not every:
        network, captured, wire = network[rows], captured[rows], wire[rows]
    located = (locate_ipv4 if version == 4 else locate_ipv6)(octets, network, captured, wire)
    available = np.minimum(captured - (located.transport - network), located.segment)
    why = located.reason
    if not (available >= FIXED).all():
        tcp = why == reasons.TCP
        why[tcp & (located.segment < FIXED)] = reasons.MALFORMED_TCP
        why[tcp & ~ports_captured(available) & (located.segment >= FIXED)] = reasons.CUT_TCP
    reason[rows] = why
    keep = np.flatnonzero(why == reasons.TCP)
    if len(keep) < len(rows):
        rows, available = rows[keep], available[keep]
        located = Located(
            why[keep],
            located.transport[keep],
            located.segment[keep],
            located.ends[keep],
            located.ttl[keep],
            located.traffic_class[keep],
            located.fragment[keep],
        )
    return _Transport(version, rows, located, available)


def _batch(
    records: Records,
    octets: Octets,
    parts: list[_Transport],
    reason: NDArray[np.int32],
    wire: NDArray[np.int64],
    flows: Flows,
    layouts: Layouts,
) -> Dissected:
    rows, order = _merged([part.rows for part in parts])

    def column(values: list[NDArray[np.generic]]) -> NDArray[np.generic]:
        if len(values) == 1:
            return values[0]
        together = np.concatenate(values) if values else np.empty(0, dtype=np.int64)
        return together if order is None else together[order]

    located = [part.located for part in parts]
    transport = column([one.transport for one in located]).astype(np.int64, copy=False)
    headers = TcpHeaders(
        octets,
        transport,
        column([part.available for part in parts]).astype(np.int64, copy=False),
        column([one.segment for one in located]).astype(np.int64, copy=False),
    )
    options = options_of(headers, layouts)
    hot = HotOptions(headers, options)
    status = headers.status | options.status
    fragment = column([one.fragment for one in located]).astype(np.bool_, copy=False)
    status[fragment] |= FRAGMENT
    ends = [
        (part.version, None if len(part.rows) == len(rows) else np.searchsorted(rows, part.rows), part.located.ends)
        for part in parts
    ]
    every = len(rows) == len(reason)
    batch = Batch(
        frame=rows + records.first_frame,
        time_ns=records.time_ns.copy() if every else records.time_ns[rows],
        interface=records.interface.copy() if every else records.interface[rows],
        captured_octets=records.captured.copy() if every else records.captured[rows],
        wire_octets=records.wire.copy() if every else records.wire[rows],
        flow=flows.numbers(headers.ports, ends),
        seq=headers.seq,
        ack=headers.ack,
        window=headers.window,
        flags=headers.flags,
        tcp_header_octets=headers.header_octets,
        payload=headers.payload,
        ttl=column([one.ttl for one in located]).astype(np.uint8),
        traffic_class=column([one.traffic_class for one in located]).astype(np.uint8),
        layout=options.layout,
        tsval=hot.tsval,
        tsecr=hot.tsecr,
        dss_bits=options.dss_bits,
        dsn=hot.dsn,
        dsn_octets=options.dsn_octets,
        data_ack=hot.data_ack,
        data_ack_octets=options.data_ack_octets,
        dss_ssn=hot.dss_ssn,
        dss_length=hot.dss_length,
        dss_checksum=hot.dss_checksum,
        sack_count=options.sack_count,
        status=status,
        sack=hot.sack,
        rare=rare_options(octets, headers.area_at, options),
    )
    return Dissected(
        batch,
        {} if every else _reasons(reason),
        int(np.count_nonzero(records.captured < wire)),
        int(np.count_nonzero(status & ~np.uint8(FRAGMENT))),
        int(np.count_nonzero(fragment)),
    )


def _merged(rows: list[Rows]) -> tuple[Rows, Rows | None]:
    """All rows in order, and the order that the columns of both versions, one behind the other, must be brought to."""
    if not rows:
        return np.empty(0, dtype=np.int64), None
    if len(rows) == 1:
        return rows[0], None
    together = np.concatenate(rows)
    order = np.argsort(together, kind="stable")
    return together[order], order


def _reasons(reason: NDArray[np.int32]) -> dict[int, int]:
    codes, numbers = np.unique(reason[reason != reasons.TCP], return_counts=True)
    return dict(zip(codes.tolist(), numbers.tolist(), strict=True))
