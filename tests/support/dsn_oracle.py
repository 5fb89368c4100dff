"""What two applications' data became on the wire, octet by octet, from tshark's fields: slow, plain, and by nobody's
interval arithmetic."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tshark

_M = "tcp.options.mptcp."
_FIELDS = (
    "frame.number",
    "tcp.stream",
    "tcp.srcport",
    "tcp.seq_raw",
    "tcp.len",
    f"{_M}rawdataseqno",
    f"{_M}subflowseqno",
    f"{_M}datalvllen",
    f"{_M}dseqnpresent.flag",
)


@dataclass(slots=True)
class Direction:
    """All data segments that one end of one connection sent."""

    union_octets: int = 0
    """Distinct DSNs."""
    overlapping: set[int] = field(default_factory=set)
    """Frames with an octet whose DSN another subflow had sent before."""
    reinjected_octets: int = 0
    """Octets that left on a subflow for the first time and on another one before."""
    retransmitted: set[int] = field(default_factory=set)
    """Frames with an octet of sequence space that the subflow had sent before."""


@dataclass(frozen=True, slots=True)
class _Segment:
    frame: int
    stream: int
    seq: int
    length: int
    dsn: int
    ssn: int


def directions(path: Path, listening_port: int) -> tuple[Direction, Direction]:
    """(towards the listener, back); the capture holds one connection, whose mappings tshark gives with 64 bits."""
    segments: tuple[list[_Segment], list[_Segment]] = ([], [])
    columns = tshark.fields(path, _FIELDS, wanted=f"tcp.len > 0 && {_M}dseqnpresent.flag == 1")
    for row in tshark.rows_of_tcp(columns):
        numbers = [int(row[name]) for name in ("frame.number", "tcp.stream", "tcp.seq_raw", "tcp.len")]
        mapping = [int(row[f"{_M}{name}"]) for name in ("rawdataseqno", "subflowseqno")]
        back = int(row["tcp.srcport"]) == listening_port
        segments[back].append(_Segment(*numbers, *mapping))
    return _direction(segments[0]), _direction(segments[1])


def _direction(segments: list[_Segment]) -> Direction:
    bases = _bases(segments)
    placed = [(each, (each.dsn + (each.seq - bases[each.stream] - each.ssn) % 2**32) % 2**64) for each in segments]
    first = min(dsn for _, dsn in placed)
    size = max(dsn + each.length for each, dsn in placed) - first
    dsns = np.zeros(size, np.uint8)  # which subflows have sent it, a bit for each
    sequence: dict[int, dict[int, int]] = defaultdict(dict)
    found = Direction()
    for each, dsn in placed:
        before = dsns[dsn - first : dsn - first + each.length]
        bit = np.uint8(1 << each.stream % 8)
        others = before & ~bit > 0
        if others.any():
            found.overlapping.add(each.frame)
        found.reinjected_octets += int((others & (before & bit == 0)).sum())
        before |= bit
        _note_sequence(found, sequence[each.stream], each)
    found.union_octets = int((dsns > 0).sum())
    return found


def _note_sequence(found: Direction, known: dict[int, int], segment: _Segment) -> None:
    """Retransmissions by the octets that a set holds; a page of 4096 octets is one number of as many bits."""
    begin, end = segment.seq, segment.seq + segment.length
    again = False
    while begin < end:
        page, at = divmod(begin, 4096)
        stop = min(end, (page + 1) * 4096)
        mask = ((1 << (stop - begin)) - 1) << at
        again |= bool(known.get(page, 0) & mask)
        known[page] = known.get(page, 0) | mask
        begin = stop
    if again:
        found.retransmitted.add(segment.frame)


def _bases(segments: list[_Segment]) -> dict[int, int]:
    """Stream -> initial sequence number: most segments begin where their mapping does."""
    votes: dict[int, Counter[int]] = defaultdict(Counter)
    for each in segments:
        votes[each.stream][(each.seq - each.ssn) % 2**32] += 1
    return {stream: counter.most_common(1)[0][0] for stream, counter in votes.items()}


def reinjections_by_tshark(path: Path) -> set[int]:
    """Frames of which tshark says ``mptcp.reinjection_of``, with all of its analysis on."""
    words = ["-n"]
    for preference in ("mptcp.analyze_mappings", "mptcp.intersubflows_retransmission"):
        words += ["-o", f"{preference}:TRUE"]
    columns = tshark.fields(path, ["frame.number", "mptcp.reinjection_of"], "mptcp.reinjection_of", words)
    return {int(number) for number in columns.get("frame.number", [])}


def streams_by_tshark(path: Path) -> dict[int, int]:
    """tcp.stream -> mptcp.stream, for the streams that have one."""
    columns = tshark.fields(path, ["tcp.stream", "mptcp.stream"], "mptcp.stream", ["-n"])
    found: dict[int, int] = {}
    for row in tshark.rows_of_tcp(columns):
        number = int(row["mptcp.stream"])
        assert found.setdefault(int(row["tcp.stream"]), number) == number
    return found
