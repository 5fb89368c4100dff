"""Segments as the kernel built them -> rows of the table ``segments``, by the definitions of testbed/mptcp/ledger.py.

Pure. What is wanted: the options that left, the SACK blocks that the socket held, address signals that are still set
after the options were written, and the DATA_ACK of a pure ACK whose place an address signal took
(mptcp_pm_add_addr_signal() drops the other MPTCP options of such a segment). A mapping that the kernel's MPTCP gives to
a segment always leaves with it, so none is ever wanted and left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from testbed.mptcp.ledger import Want, blame_for, class_by_repacking, name_of
from testbed.mptcp.packing import AREA, padded
from testbed.orchestrator.bpf.segment_program import PACKET, REQUEST, SOCKET, SUBFLOW, Seen
from testbed.wire.option_codec import decode_options
from testbed.wire.options import (
    KIND_EOL,
    KIND_NOP,
    SUBTYPE_ADD_ADDR,
    SUBTYPE_MP_FAIL,
    SUBTYPE_MP_PRIO,
    SUBTYPE_REMOVE_ADDR,
    AddAddr,
    Dss,
    MpCapable,
    MpJoin,
    MptcpOption,
    Option,
    Sack,
)
from testbed.wire.segment import ACK, FIN, RST, SYN

Row = dict[str, Any]

_CLASSES = ("padding", "width", "policy", "hard")
_CAN_WAIT = (SUBTYPE_ADD_ADDR, SUBTYPE_REMOVE_ADDR, SUBTYPE_MP_PRIO, SUBTYPE_MP_FAIL)
_HALF, _WHOLE = 1 << 31, 1 << 32


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """Which segments of a host belong to a flow: those from (server) or to (client) its port."""

    flow: str
    side: Literal["client", "server"]
    tag: int
    port: int


@dataclass(slots=True)
class _Subflow:
    """One end of a subflow, or of a plain TCP connection."""

    flow: str
    side: str
    connection: int
    number: int
    isn: int | None
    irs: int | None = None
    last_ssn: int = 0
    last_ack: int = 0
    mapped: int | None = None
    """Where what was mapped so far ends, a subflow sequence number; None: no mapping was ever on it."""
    answered: bool = False
    """Whether a SYN+ACK has left."""
    data_ack: int | None = None
    data_ack_octets: int = 4
    """Of the last one sent. Linux begins with 4, until a 64-bit DSN has come (mptcp_established_options_dss())."""


@dataclass(slots=True)
class _Connection:
    number: int
    subflows: int = 0


class KernelRows:
    """Turns segments, in order, into rows; :attr:`unassigned` counts those of no flow that is known."""

    def __init__(self, ends: Sequence[FlowEnd], t0_ns: int) -> None:
        self._ends = {(end.tag, end.side, end.port): end for end in ends}
        self._t0_ns = t0_ns
        self._subflows: dict[tuple[int, bytes, int, bytes, int], _Subflow] = {}
        self._by_token: dict[tuple[int, int], tuple[FlowEnd, _Connection]] = {}
        self._count: dict[tuple[str, str], int] = {}
        self.unassigned = 0

    def rows(self, segments: Iterable[Seen]) -> Iterator[Row]:
        """A row for each, without its trial."""
        for seen in segments:
            row = self._row(seen)
            if row is not None:
                yield row

    def _row(self, seen: Seen) -> Row | None:
        options = decode_options(seen.options)
        sent = [option for option in options if option.kind not in (KIND_NOP, KIND_EOL)]
        subflow = self._subflow(seen, sent)
        if subflow is None:
            self.unassigned += 1
            return None
        kind = segment_kind(seen)
        ssn = ack = None
        if subflow.isn is not None:
            subflow.last_ssn = ssn = _unwrapped(seen.sequence - subflow.isn, subflow.last_ssn)
        if seen.level >= SOCKET and subflow.irs is not None and seen.flags & ACK:
            subflow.last_ack = ack = _unwrapped(seen.rcv_nxt - subflow.irs, subflow.last_ack)
        elif seen.level == REQUEST:
            ack = 1  # of the SYN; data that came on it (Fast Open) are acknowledged when there is a socket
        blocks = next((option.blocks for option in sent if isinstance(option, Sack)), ())
        sack_sent = len(blocks)
        held = seen.blocks_wanted(tuple((left, right) for left, right in blocks)) if seen.level >= SOCKET else ()
        others, omitted = _besides_sack(seen, sent, subflow)
        sizes = [(want.name, want.size) for want in others]
        if held:
            sizes.append(("sack", 2 + 8 * len(held)))
        area, used = len(seen.options), sum(option.size for option in sent)
        counts = dict.fromkeys(_CLASSES, 0)
        for number in range(sack_sent + 1, len(held) + 1):
            counts[_class_of_block(others, number, sack_sent, area)] += 1
        ranges = None
        if held and ack is not None:
            ends = [[_unwrapped(edge - seen.rcv_nxt, 0) + ack for edge in block] for block in held]
            ranges = " ".join(f"{left}-{right}" for left, right in ends)
        mapping, mapping_ssn, mapping_octets = _mapping(seen, sent, ssn, subflow)
        _note_data_ack(sent, subflow)
        return {
            "flow": subflow.flow,
            "side": subflow.side,
            "source": "kernel",
            "connection": subflow.connection,
            "time_ns": seen.time_ns - self._t0_ns,
            "subflow": subflow.number,
            "segment": kind,
            "retransmission": _leaves_again(seen, kind, subflow),
            "ssn": ssn,
            "payload": seen.payload,
            "wanted": _text(sizes),
            "wanted_octets": sum(size for _, size in sizes),
            "sent": _text([(name_of(option), option.size) for option in sent]),
            "option_octets": area,
            "padding_octets": area - used,
            "free_octets": AREA - area,
            "sack_wanted": len(held),
            "sack_sent": sack_sent,
            **{f"sack_{name}": count for name, count in counts.items()},
            "sack_blame": blame_for(sent, 8 if sack_sent else 10, True) if sack_sent < len(held) else "",
            "mapping": mapping,
            "omitted": " ".join(f"{name}:{_class_of_other(others, name, size, sent, area)}" for name, size in omitted),
            "mss": seen.mss or None if not seen.flags & SYN else None,
            "ack": ack,
            "sack_ranges": ranges,
            "mapping_ssn": mapping_ssn,
            "mapping_octets": mapping_octets,
        }

    def _subflow(self, seen: Seen, sent: list[Option]) -> _Subflow | None:
        key = (seen.tag, seen.source, seen.source_port, seen.destination, seen.destination_port)
        known = self._subflows.get(key)
        opens = bool(seen.flags & SYN)
        if known is not None and not (opens and known.isn != seen.sequence):
            if known.irs is None and known.isn is not None and not opens and seen.level >= SOCKET:
                known.irs = (seen.rcv_nxt - 1) % _WHOLE  # the first answer to a SYN+ACK acknowledges just that
            return known
        if seen.level == PACKET:
            return known  # a reset of what is not there begins no connection
        joins = [option for option in sent if isinstance(option, MpCapable | MpJoin)]
        token = seen.token if seen.level == SUBFLOW or (seen.level == REQUEST and joins) else 0
        end, connection = self._connection(seen, token)
        if end is None or connection is None:
            return None
        subflow = _Subflow(end.flow, end.side, connection.number, connection.subflows, seen.sequence if opens else None)
        connection.subflows += 1
        if seen.level == REQUEST:
            subflow.irs = seen.rcv_nxt
        self._subflows[key] = subflow
        return subflow

    def _connection(self, seen: Seen, token: int) -> tuple[FlowEnd | None, _Connection | None]:
        """By token; else by port, and then it is a new one."""
        if token and (seen.tag, token) in self._by_token:
            return self._by_token[seen.tag, token]
        server = self._ends.get((seen.tag, "server", seen.source_port))
        end = server or self._ends.get((seen.tag, "client", seen.destination_port))
        if end is None:
            return None, None
        number = self._count.get((end.flow, end.side), 0)
        self._count[end.flow, end.side] = number + 1
        connection = _Connection(number)
        if token:
            self._by_token[seen.tag, token] = (end, connection)
        return end, connection


def segment_kind(seen: Seen) -> str:
    """syn, syn-ack, rst, data, fin or ack, as the ledger has them."""
    if seen.flags & SYN:
        return "syn-ack" if seen.flags & ACK else "syn"
    if seen.flags & RST:
        return "rst"
    if seen.payload:
        return "data"
    return "fin" if seen.flags & FIN else "ack"


def _leaves_again(seen: Seen, kind: str, subflow: _Subflow) -> bool:
    """Data, SYN or FIN below what the socket sends next; a SYN+ACK that the same request has sent before."""
    if kind == "syn-ack":
        again, subflow.answered = subflow.answered, True
        return again
    if kind not in ("syn", "data", "fin") or seen.level < SOCKET:
        return False
    return (seen.sequence - seen.snd_nxt) % _WHOLE >= _HALF


def _besides_sack(seen: Seen, sent: list[Option], subflow: _Subflow) -> tuple[list[Want], list[tuple[str, int]]]:
    """(options wanted without SACK, those of them that are not on the segment)."""
    wanted, signals, omitted = [], [], []
    is_reset = bool(seen.flags & RST)
    for option in sent:
        if isinstance(option, Sack):
            continue
        if isinstance(option, Dss):
            wanted.append(_want_dss(option, subflow))
        elif isinstance(option, MptcpOption) and option.subtype in _CAN_WAIT:
            signals.append(Want(name_of(option), option.size, None, option.size if is_reset else 0))
        else:
            wanted.append(Want(name_of(option), option.size))
    took_the_place = any(isinstance(option, AddAddr) for option in sent) and not seen.payload
    if took_the_place and not any(isinstance(option, Dss) for option in sent):
        wanted.append(Want("dss", 4 + subflow.data_ack_octets, 8))
        omitted.append(("dss", 4 + subflow.data_ack_octets))
    if not seen.flags & SYN:
        omitted += seen.postponed
        signals += [Want(name, size, None, 0) for name, size in seen.postponed]
    return wanted + signals, omitted


def _want_dss(dss: Dss, subflow: _Subflow) -> Want:
    """Narrow: 32-bit numbers. Needed: without a mapping sent before and a DATA_ACK that has not advanced."""
    ack = 0 if dss.data_ack is None else 4
    rest = 0 if dss.dsn is None else 4 + (6 if dss.checksum is None else 8)
    needed_ack = 0 if dss.data_ack is None or dss.data_ack == subflow.data_ack else ack
    is_repeated = dss.dsn is not None and subflow.mapped is not None and _mapping_end(dss, subflow) <= subflow.mapped
    needed_rest = 0 if is_repeated else rest
    needed = 4 + needed_ack + needed_rest if needed_ack or needed_rest else 0
    return Want("dss", dss.size, 4 + ack + rest, needed)


def _mapping_end(dss: Dss, subflow: _Subflow) -> int:
    return _unwrapped(dss.ssn, subflow.last_ssn) + _octets(dss)


def _octets(dss: Dss) -> int:
    """Of data that it maps."""
    return dss.length - (1 if dss.data_fin else 0)


def _mapping(seen: Seen, sent: list[Option], ssn: int | None, subflow: _Subflow) -> tuple[str, int | None, int | None]:
    """(what became of the mapping of the segment's data, where the one on the segment begins, its octets)."""
    state, start, octets = "none", None, None
    for option in sent:
        if isinstance(option, Dss) and option.dsn is not None and (_octets(option) > 0 or option.length == 0):
            start, octets = _unwrapped(option.ssn, subflow.last_ssn), _octets(option)
        elif isinstance(option, MpCapable) and option.data_length:
            start, octets = 1, option.data_length
    if start is not None and octets is not None:
        end = start + octets
        if seen.payload:
            state = "repeated" if subflow.mapped is not None and end <= subflow.mapped else "own"
        subflow.mapped = max(subflow.mapped or 0, end)
    elif seen.payload and subflow.mapped is not None:
        state = "declared" if ssn is None or ssn + seen.payload <= subflow.mapped else "deferred"
    return state, start, octets


def _note_data_ack(sent: list[Option], subflow: _Subflow) -> None:
    for option in sent:
        if isinstance(option, Dss) and option.data_ack is not None:
            subflow.data_ack, subflow.data_ack_octets = option.data_ack, option.ack_octets


def _class_of_block(others: list[Want], number: int, sack_sent: int, area: int) -> str:
    """Why the ``number``-th block did not leave; Linux pads every option to words."""
    more = 2 + 8 * number - (2 + 8 * sack_sent if sack_sent else 0)
    return "policy" if padded(more) <= AREA - area else class_by_repacking(others, 2 + 8 * number)


def _class_of_other(others: list[Want], name: str, size: int, sent: list[Option], area: int) -> str:
    if padded(size) <= AREA - area:
        return "policy"  # there was room
    rest = list(others)
    rest.remove(next(want for want in others if want.name == name and want.size == size))
    sack = next((option.size for option in sent if isinstance(option, Sack)), 0)
    return class_by_repacking([*rest, Want("sack", sack, sack, sack)], size)


def _unwrapped(number: int, near: int) -> int:
    """The integer that is ``number`` modulo 2^32 and closest to ``near``."""
    return near + (number - near + _HALF) % _WHOLE - _HALF


def _text(sizes: Sequence[tuple[str, int]]) -> str:
    return sys.intern(" ".join(f"{name}:{size}" for name, size in sizes))  # few of them differ, rows are many
