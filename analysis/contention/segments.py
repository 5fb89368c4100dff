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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, CUT_OPTIONS, DSS_CHECKSUM, DSS_DATA_FIN, Batch, Layout
from analysis.contention.grouped import (
    LOWEST,
    Groups,
    groups_of,
    highest_before,
    offset_of,
    running_sum,
    unwrapped,
    value_before,
)
from analysis.contention.repacking import AREA_OCTETS, SEGMENT_KINDS, DssForm, Outcome, Situation, packing_of
from analysis.contention.replay import EVER, LINUX, NO_STAMP, Range, Receiver, Replay
from analysis.contention.rounds import built_by

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
NOT_KNOWN = np.int64(np.iinfo(np.int64).min)
"""In columns of numbers: null."""
SIDE_NAMES = ("client", "server")
MAPPINGS = ("none", "own", "other", "repeated", "declared", "deferred")
DATA, PURE_ACK = SEGMENT_KINDS.index("data"), SEGMENT_KINDS.index("ack")
_NONE, _OWN, _OTHER, _REPEATED, _DECLARED, _DEFERRED = range(6)
_M32 = 0xFFFF_FFFF
_HAS_DSN = 0x04
_ALIGNED, _DENSE = 1, 2
_MSS_OPTION, _MPTCP = 2, 30
_CAPABLE_WITH_DATA = 22
"""Octets of an MP_CAPABLE that has a data-level length."""
_LEAST_AHEAD, _MOST_AHEAD = 32, 1024
"""Packets of one subflow that are looked at together."""

_Packet = tuple[int, bool, int, int, bool, int, int, int]
"""What a replay needs of a packet: place in the view, whether it leaves, offset in the peer's stream (of the first
octet, or of the acknowledgment), octets, whether a segment has room for a block more, the peer's timestamp, its time,
and the time by which it was built."""


@dataclass(frozen=True, slots=True)
class Subflows:
    """What has to be known of the subflows before their packets are read. One value for each, by number."""

    side: NDArray[np.int8]
    """Whose segments are to be inferred: 0 the opener's (the capture stands at its interface), 1 the listener's, 2
    both, -1 nobody's: the capture stands elsewhere, or it is not known where."""
    isn: Int64s
    """Shape (n, 2): initial sequence numbers of the opener and the listener; NOT_KNOWN when not in the capture."""
    connection: Int64s
    place: Int64s
    """Number of the subflow within its connection, from 0."""


@dataclass(slots=True)
class Segments:
    """Segments that one side sent, as columns, in the order of the capture. NOT_KNOWN is null."""

    row: Int64s
    """In the batch."""
    subflow: Int64s
    side: NDArray[np.int8]
    """0: the opener sent it; 1: the listener."""
    frame: Int64s
    time_ns: Int64s
    kind: NDArray[np.int8]
    """Index into SEGMENT_KINDS."""
    retransmission: Bools
    ssn: Int64s
    payload: Int64s
    outcome: Int64s
    """Index into :attr:`Inference.outcomes`."""
    turn: NDArray[np.uint8]
    """Bit i: under the i-th of :attr:`Inference.map_every` a data segment has its turn to carry the mapping."""
    peer_is_wide: Bools
    """A 64-bit DSN has come from the peer."""
    mapping: NDArray[np.int8]
    """Index into MAPPINGS."""
    mapping_ssn: Int64s
    """Offset of ``ssn_offset``."""
    mapping_octets: Int64s
    mss: Int64s
    ack: Int64s
    ack_offset: Int64s
    """As ``ack``, but also where the SYN is not in the capture (then from the first number seen)."""
    ssn_offset: Int64s
    """As ``ssn``, likewise."""
    ranges: dict[int, tuple[Range, ...]] = field(default_factory=dict)
    """Index of a segment -> the SACK ranges that it wanted to report, those sent first; numbers of ``ack_offset``."""

    def __len__(self) -> int:
        return len(self.row)


class _State:
    """What is remembered of each subflow between batches, of one side."""

    def __init__(self, subflows: Subflows, side: int) -> None:
        count = len(subflows.side)

        def numbers(value: int = 0) -> Int64s:
            return np.full(count, value, dtype=np.int64)

        def flags() -> Bools:
            return np.zeros(count, dtype=bool)

        self.own_base = subflows.isn[:, side].copy()
        self.far_base = subflows.isn[:, 1 - side].copy()
        """Wire number of offset 0: the SYN, or the first number seen."""
        self.own_known = self.own_base != NOT_KNOWN
        self.far_known = self.far_base != NOT_KNOWN
        self.own_last, self.far_last = numbers(), numbers()
        self.own_end = numbers(LOWEST)
        """End of what was sent."""
        self.edge = np.where(self.far_known, 1, LOWEST).astype(np.int64)
        """End of the last arrival in order."""
        self.acked = self.edge.copy()
        """The last acknowledgment that left."""
        self.mapped_end = numbers(LOWEST)
        self.data_ack = numbers(-1)
        self.data_ack_octets = np.zeros(count, dtype=np.int64)
        self.data_count = numbers()
        self.stamps_out, self.stamps_in = flags(), flags()
        self.no_sack = flags()
        """A SYN came by without SACK-permitted."""
        self.peer_is_wide = flags()
        self.packing = np.zeros(count, dtype=np.uint8)
        self.mss = numbers(int(NOT_KNOWN))
        self.replays: dict[int, Replay] = {}
        self.gaps: dict[int, list[Range]] = {}
        """Subflow -> subflow numbers that no mapping has covered, below ``mapped_end``."""


class _LayoutTable:
    """What of a layout matters here, by its number."""

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self._layouts = layouts
        self.sent: list[tuple[tuple[str, int], ...]] = []
        self.packing = np.zeros(0, dtype=np.uint8)
        self.has_timestamps = np.zeros(0, dtype=bool)
        self.permits_sack = np.zeros(0, dtype=bool)
        self.opens = np.zeros(0, dtype=bool)
        """MP_CAPABLE or MP_JOIN is in it."""
        self.has_room = np.zeros(0, dtype=bool)
        """For a SACK block more, however it is packed."""
        self.signals = np.zeros(0, dtype=bool)
        """ADD_ADDR and others that may take a DSS's place."""

    def extend(self) -> None:
        """Take in layouts that have come since."""
        new = self._layouts[len(self.sent) :]
        if not new:
            return
        names = [{name for name, _ in layout.items} for layout in new]
        packing = [{True: _ALIGNED, False: _DENSE, None: 0}[packing_of(layout.items)] for layout in new]
        self.sent += [tuple(item for item in layout.items if item[0] not in ("nop", "eol")) for layout in new]
        self.packing = np.append(self.packing, np.array(packing, dtype=np.uint8))
        self.has_timestamps = np.append(self.has_timestamps, ["timestamps" in each for each in names])
        self.permits_sack = np.append(self.permits_sack, ["sack_permitted" in each for each in names])
        self.opens = np.append(self.opens, [bool({"mp_capable", "mp_join"} & each) for each in names])
        room = [AREA_OCTETS - each.octets >= (8 if "sack" in has else 12) for each, has in zip(new, names, strict=True)]
        self.has_room = np.append(self.has_room, room)
        self.signals = np.append(self.signals, [bool({"add_addr", "remove_addr", "mp_prio"} & each) for each in names])

    def octets(self, number: int) -> int:
        """Of the option area."""
        return self._layouts[number].octets


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
        """Segments without a row because the capture ends within their options."""
        self._layouts = _LayoutTable(layouts)
        self._states = {side: _State(subflows, side) for side in (0, 1)}
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
            return _in_file_order(parts[0])
        return _joined(parts) if parts else _nothing()

    # --- inside ---

    def _of_side(
        self, side: int, batch: Batch, rows: Int64s, subflow: NDArray[np.int32], direction: NDArray[np.int8]
    ) -> Segments:
        state = self._states[side]
        view = _View(batch, rows, subflow[rows].astype(np.int64), direction[rows] == side, self._layouts, state)
        view.note_openings()
        wanted, ranges = _SackReplay(view, state, self.receiver).run()
        return self._rows(side, view, state, wanted, ranges)

    def _rows(
        self,
        side: int,
        view: _View,
        state: _State,
        wanted: NDArray[np.uint8],
        ranges: dict[int, tuple[Range, ...]],
    ) -> Segments:
        leaving = _Leaving(view, state, self.map_every)
        whole = leaving.column("status") & CUT_OPTIONS == 0
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

    def _outcomes(self, leaving: _Leaving, wanted: NDArray[np.uint8], whole: Bools) -> Int64s:
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


class _View:
    """The packets of one side's subflows in one batch, sorted by subflow, and the numbers of the far end's stream."""

    def __init__(
        self, batch: Batch, rows: Int64s, subflow: Int64s, leaves: Bools, layouts: _LayoutTable, state: _State
    ) -> None:
        self.batch, self.rows, self.subflow, self.leaves = batch, rows, subflow, leaves
        self.layouts, self.state = layouts, state
        self.flags = batch.flags[rows]
        self.layout = batch.layout[rows]
        self.far, self.far_rows, self.far_groups = self._far_numbers()

    def column(self, name: str) -> NDArray[Any]:
        """A column of the batch, for these packets."""
        values: NDArray[Any] = getattr(self.batch, name)[self.rows]
        return values

    def note_openings(self) -> None:
        """What SYNs and SYN/ACKs say: SACK, MSS; and which packets show how the endpoint pads."""
        syn = np.flatnonzero(self.flags & SYN)
        refuses = syn[~self.layouts.permits_sack[self.layout[syn]]]
        self.state.no_sack[self.subflow[refuses]] = True
        if len(syn):
            self._note_mss(syn)
        packing = self.layouts.packing[self.layout]
        telling = np.flatnonzero(self.leaves & (packing != 0))
        self.state.packing[self.subflow[telling]] = packing[telling]

    def _note_mss(self, syn: Int64s) -> None:
        """The smaller of the two that were offered: TCP sends no more, options included (RFC 6691)."""
        rare = self.batch.rare
        of_row = dict(zip(self.rows[syn].tolist(), self.subflow[syn].tolist(), strict=True))
        for index in np.flatnonzero(rare.kind == _MSS_OPTION):
            number = of_row.get(int(rare.row[index]))
            if number is not None:
                offered = int(rare.octets[index, 2]) << 8 | int(rare.octets[index, 3])
                known = int(self.state.mss[number])
                self.state.mss[number] = offered if known == NOT_KNOWN else min(known, offered)

    def _far_numbers(self) -> tuple[Int64s, Int64s, Groups]:
        """Of each packet: where the peer's stream stands. Arrivals: offset of the first octet; segments that leave: of
        the acknowledgment. Rows without (RST, and a SYN that acknowledges nothing) keep the offset before."""
        state, leaves, flags = self.state, self.leaves, self.flags
        has = (flags & RST == 0) & (~leaves | (flags & ACK != 0))
        chosen = np.flatnonzero(has)
        wire = np.where(leaves, self.column("ack"), self.column("seq") + ((flags & SYN) >> 1).astype(np.uint32))[chosen]
        groups = groups_of(self.subflow[chosen])
        fresh = state.far_base[groups.key] == NOT_KNOWN
        state.far_base[groups.key[fresh]] = wire[groups.first[fresh]]
        offsets = unwrapped(wire, groups, state.far_last[groups.key], state.far_base[groups.key])
        state.far_last[groups.key] = offsets[groups.last]
        far = np.full(len(self.rows), NOT_KNOWN, dtype=np.int64)
        far[chosen] = offsets
        return far, chosen, groups


class _SackReplay:
    """How many SACK blocks each segment that leaves wants to carry."""

    def __init__(self, view: _View, state: _State, receiver: Receiver) -> None:
        self.view, self.state, self.receiver = view, state, receiver
        self.wanted = np.zeros(len(view.rows), dtype=np.uint8)
        self.ranges: dict[int, tuple[Range, ...]] = {}
        flags = view.flags[view.far_rows]
        self.at = view.far_rows[~(view.leaves[view.far_rows] & (flags & SYN != 0))]
        """Packets that matter, as places in the view."""
        self.groups = groups_of(view.subflow[self.at])
        flags = view.flags[self.at]
        self.leaves = view.leaves[self.at]
        self.start = view.far[self.at]
        octets = view.column("payload")[self.at].astype(np.int64)
        if receiver.holds_fin:
            octets += flags & FIN
        self.octets = np.where(self.leaves, 0, octets)
        self.has_room = self.leaves & view.layouts.has_room[view.layout[self.at]]
        self.reports = self.leaves & (view.column("sack_count")[self.at] > 0)
        stamps = np.where(self.leaves, view.column("tsecr")[self.at], view.column("tsval")[self.at]).astype(np.int64)
        self.stamps = np.where(view.layouts.has_timestamps[view.layout[self.at]], stamps, NO_STAMP)
        """Of the peer: on an arrival, or echoed."""
        self.times = view.column("time_ns")[self.at]
        self.built = self._built_by() if receiver.works_in_rounds else None

    def _built_by(self) -> Int64s:
        """Of each segment that leaves: it was not built later."""
        view, leaving = self.view, np.flatnonzero(self.leaves)
        at = self.at[leaving]
        has = view.layouts.has_timestamps[view.layout[at]]
        stamps = np.where(has, view.column("tsval")[at].astype(np.int64), NO_STAMP)
        built: Int64s = self.times.copy()
        built[leaving] = built_by(self.times[leaving], stamps, groups_of(view.subflow[at]))
        return built

    def run(self) -> tuple[NDArray[np.uint8], dict[int, tuple[Range, ...]]]:
        """(blocks wanted, by place in the view; ranges of those that want any)."""
        state = self.state
        end = self.start + self.octets
        arrivals = np.flatnonzero(self.octets > 0)
        arrival_groups = groups_of(self.view.subflow[self.at[arrivals]])
        before = value_before(end[arrivals], arrival_groups, state.edge[arrival_groups.key])
        odd = np.zeros(len(self.at), dtype=bool)
        odd[arrivals] = (self.start[arrivals] != before) & (before != LOWEST)
        odd |= self.reports
        state.edge[arrival_groups.key] = end[arrivals[arrival_groups.last]]
        edge_before = np.full(len(self.at), LOWEST, dtype=np.int64)
        edge_before[arrivals] = before
        self._replay(np.flatnonzero(odd), end, edge_before)
        departures = np.flatnonzero(self.leaves)
        departure_groups = groups_of(self.view.subflow[self.at[departures]])
        state.acked[departure_groups.key] = self.start[departures[departure_groups.last]]
        return self.wanted, self.ranges

    def _replay(self, odd: Int64s, end: Int64s, edge_before: Int64s) -> None:
        """Go packet by packet through what is not in order, one subflow after the other."""
        groups, state = self.groups, self.state
        lasts = groups.last
        of_group = groups.place[odd]
        live = np.flatnonzero(np.isin(groups.key, list(state.replays))) if state.replays else np.zeros(0, np.int64)
        for group in np.union1d(of_group, live).tolist():
            number = int(groups.key[group])
            if state.no_sack[number]:
                continue
            mine = odd[np.searchsorted(of_group, group) : np.searchsorted(of_group, group, "right")]
            _Stretch(self, number, int(groups.first[group]), int(lasts[group]) + 1, mine, end, edge_before).run()

    def packets(self, first: int, after: int) -> list[_Packet]:
        """What the replay needs of some of them."""
        built = self.times if self.built is None else self.built
        columns = (self.at, self.leaves, self.start, self.octets, self.has_room, self.stamps, self.times, built)
        return list(zip(*(column[first:after].tolist() for column in columns), strict=True))

    def sent_blocks(self, at: Int64s) -> dict[int, tuple[Range, ...]]:
        """Place in the view -> the blocks on the segment, as offsets."""
        batch, view = self.view.batch, self.view
        if not len(batch.sack.row):
            return {}
        rows = view.rows[at]
        first = np.searchsorted(batch.sack.row, rows)
        last = np.searchsorted(batch.sack.row, rows, "right")
        base = view.state.far_base[view.subflow[at]]
        found = {}
        for place, low, high, ack, origin in zip(
            at.tolist(), first.tolist(), last.tolist(), view.far[at].tolist(), base.tolist(), strict=True
        ):
            near = (origin + ack - 0x8000_0000) & _M32
            shift = ack - 0x8000_0000
            found[place] = tuple(
                (((left - near) & _M32) + shift, ((right - near) & _M32) + shift)
                for left, right in zip(
                    batch.sack.left[low:high].tolist(), batch.sack.right[low:high].tolist(), strict=True
                )
            )
        return found


class _Stretch:
    """The packets of one subflow in one batch, while the receiver holds something."""

    def __init__(
        self, replay: _SackReplay, number: int, first: int, after: int, odd: Int64s, end: Int64s, edge_before: Int64s
    ) -> None:
        self.replay, self.number, self.first, self.after = replay, number, first, after
        self.odd, self.end, self.edge_before = odd, end, edge_before
        self.start = replay.start
        self.leaving = first + np.flatnonzero(replay.leaves[first:after])
        self.arriving = first + np.flatnonzero(replay.octets[first:after])
        reporting = replay.at[first + np.flatnonzero(replay.reports[first:after])]
        self.sent = replay.sent_blocks(reporting)

    def run(self) -> None:
        """All of it; what is still held at the end stays in the state."""
        state = self.replay.state
        live = state.replays.pop(self.number, None)
        position = self.first
        if live is None:
            position = int(self.odd[0])
            live = self._begin(position)
        while True:
            position = self._until_quiet(position, live)
            if position >= self.after:
                break
            following = self._next_odd(position, live.edge)
            if following >= self.after:
                last = self._last_before(self.arriving, self.after)
                state.edge[self.number] = self.end[last] if last >= position else live.edge
                return
            live = self._begin(following, live.edge)
            position = following
        if live.is_quiet:
            state.edge[self.number] = live.edge
        else:
            state.replays[self.number] = live

    def _last_before(self, places: Int64s, position: int) -> int:
        """The last of the places before ``position``; -1: none."""
        index = int(np.searchsorted(places, position))
        return int(places[index - 1]) if index else -1

    def _begin(self, position: int, edge: int | None = None) -> Replay:
        """The receiver before the packet at ``position``: all that came before is in order, and what the last segment
        has not acknowledged may not have been handled."""
        replay, state, start, end = self.replay, self.replay.state, self.start, self.end
        before = self._last_before(self.leaving, position)
        acked = int(start[before]) if before >= 0 else int(state.acked[self.number])
        index = int(np.searchsorted(self.arriving, position))
        if not index and edge is None:
            # the state's edge has moved on to the end of this batch: the first arrival knows what it was
            has = len(self.arriving) > 0
            edge = int(self.edge_before[self.arriving[0]]) if has else int(state.edge[self.number])
        if acked == LOWEST:
            acked = edge if edge is not None and edge != LOWEST else int(start[position])
        waiting: list[int] = []
        while index and end[self.arriving[index - 1]] > acked:
            index -= 1
            waiting.insert(0, int(self.arriving[index]))
        waits_from = int(start[waiting[0]]) if waiting else acked if edge is None else edge
        live = Replay(acked, max(waits_from, acked), replay.receiver)
        for each in waiting:
            live.arrives(int(start[each]), int(end[each]), int(replay.stamps[each]), int(replay.times[each]))
        if before >= 0:
            live.ts_recent = int(replay.stamps[before])
        return live

    def _until_quiet(self, position: int, live: Replay) -> int:
        """Replay from ``position``; the place behind the segment after which nothing is held, or the end."""
        wanted, ranges = self.replay.wanted, self.replay.ranges
        ahead = _LEAST_AHEAD
        while position < self.after:
            packets = self.replay.packets(position, min(position + ahead, self.after))
            ahead = min(2 * ahead, _MOST_AHEAD)
            bounds = self._bounds(packets, live.copy())
            for (place, leaves, start, octets, has_room, stamp, time, _), bound in zip(packets, bounds, strict=False):
                position += 1
                if not leaves:
                    if octets:
                        live.arrives(start, start + octets, stamp, time)
                    continue
                found = live.leaves(start, self.sent.get(place, ()), has_room, stamp, bound)
                if found:
                    wanted[place] = len(found)
                    ranges[place] = found
                elif live.is_quiet:
                    return position
        return position

    def _bounds(self, packets: list[_Packet], scout: Replay) -> list[int]:
        """Of each packet that leaves: arrivals later than this were not known when it was built, for a later one shows
        by what it reports that it did not know them either. As far as that is settled."""
        bounds: list[int] = []
        for index, (place, leaves, start, octets, has_room, stamp, time, built) in enumerate(packets):
            if not leaves:
                if octets:
                    scout.arrives(start, start + octets, stamp, time)
                continue
            sent = self.sent.get(place, ())
            if sent or has_room:
                scout.leaves(start, sent, has_room, stamp, built)
                bound = scout.not_handled_ns - 1
                # a duplicate that is reported came to be known here: another arrival would have wiped it out before
                before = min(bound, scout.told_ns - 1) if scout.receiver.forgets_duplicates else bound
                bounds += [min(each[-1], before) for each in packets[len(bounds) : index]]
                bounds += [min(built, bound)]
                if bound == EVER - 1 and scout.is_quiet:
                    return bounds
        bounds += [each[-1] for each in packets[len(bounds) :]]
        return bounds

    def _next_odd(self, position: int, edge: int) -> int:
        """The next packet that is not in order after ``edge``."""
        rest = self.odd[np.searchsorted(self.odd, position) :]
        following = int(rest[0]) if len(rest) else self.after
        index = int(np.searchsorted(self.arriving, position))
        arrival = int(self.arriving[index]) if index < len(self.arriving) else self.after
        if arrival <= following and arrival < self.after and self.start[arrival] != edge:
            return arrival
        if arrival == following and arrival < self.after:
            # it was odd only after what came before it, which has been joined since
            return int(rest[1]) if len(rest) > 1 else self.after
        return following


class _Leaving:
    """The segments that leave, with what decides their outcomes."""

    def __init__(self, view: _View, state: _State, map_every: Sequence[int]) -> None:
        self.view, self.state = view, state
        self.at = np.flatnonzero(view.leaves)
        self.rows = view.rows[self.at]
        self.subflow = view.subflow[self.at]
        self.groups = groups_of(self.subflow)
        self.payload = self.column("payload").astype(np.int64)
        flags = self.column("flags")
        self.kind = _kinds(flags, self.payload)
        self._note_arrivals()
        self._number(flags)
        self._map()
        self.turn = self._turns(map_every)
        self.keys = self._keys()

    def column(self, name: str) -> NDArray[Any]:
        """A column of the batch, for these segments."""
        values: NDArray[Any] = getattr(self.view.batch, name)[self.rows]
        return values

    def _number(self, flags: NDArray[np.uint16]) -> None:
        """Sequence numbers, and which octets leave again."""
        state, groups, wire = self.state, self.groups, self.column("seq")
        fresh = state.own_base[groups.key] == NOT_KNOWN
        state.own_base[groups.key[fresh]] = wire[groups.first[fresh]]
        self.ssn = unwrapped(wire, groups, state.own_last[groups.key], state.own_base[groups.key])
        state.own_last[groups.key] = self.ssn[groups.last]
        octets = self.payload + ((flags & SYN) >> 1) + (flags & FIN)
        octets[flags & RST != 0] = 0
        end = np.where(octets > 0, self.ssn + octets, LOWEST)
        highest = highest_before(end, groups, state.own_end[groups.key])
        self.retransmission = (octets > 0) & (self.ssn < highest)
        last = groups.last
        state.own_end[groups.key] = np.maximum(highest[last], end[last])

    def _note_arrivals(self) -> None:
        """What has come from the peer before each segment: timestamps, 64-bit DSNs."""
        view, state = self.view, self.state
        stamped = view.layouts.has_timestamps[view.layout]
        groups = groups_of(view.subflow)
        came = np.where(view.leaves, 0, stamped).astype(np.int64)
        left = np.where(view.leaves, stamped, 0).astype(np.int64)
        wide = np.where(view.leaves, 0, view.column("dsn_octets") == 8).astype(np.int64)
        has_come = running_sum(came, groups, state.stamps_in[groups.key].astype(np.int64))
        has_left = running_sum(left, groups, state.stamps_out[groups.key].astype(np.int64))
        is_wide = running_sum(wide, groups, state.peer_is_wide[groups.key].astype(np.int64))
        last = groups.last
        state.stamps_in[groups.key] = has_come[last] > 0
        state.stamps_out[groups.key] = has_left[last] > 0
        state.peer_is_wide[groups.key] = is_wide[last] > 0
        self.peer_is_wide = is_wide[self.at] > 0
        lacks = ~stamped & (has_come > 0) & (has_left > 0) & (view.flags & (SYN | RST) == 0)
        self.lacks_timestamps = lacks[self.at]

    def _map(self) -> None:
        """The mapping on each segment and what it is to the segment's data."""
        bits = self.column("dss_bits")
        declares = bits & _HAS_DSN != 0
        has_fin = bits & DSS_DATA_FIN != 0
        length = self.column("dss_length").astype(np.int64)
        only_fin = declares & has_fin & (length == 1) & (self.column("dss_ssn") == 0)
        is_infinite = declares & (length == 0)
        octets = length - (has_fin & (length > 0))
        maps = declares & ~only_fin
        opens = self.view.layouts.opens[self.column("layout")] & (self.payload > 0) & (bits == 0)
        relative = offset_of(self.column("dss_ssn"), self.ssn, np.zeros(len(self.ssn), dtype=np.int64))
        start = np.where(opens, self.ssn, relative)
        octets = np.where(opens, self._mapped_by_opening(opens), octets)
        known = self.state.own_known[self.subflow]
        start = np.where(known | opens, start, self.ssn)  # without the SYN: a mapping begins with its segment
        has = maps | opens
        finite = has & ~is_infinite
        end = np.where(finite, start + octets, LOWEST)
        highest = highest_before(end, self.groups, self.state.mapped_end[self.groups.key])
        covered = self._covered(start, end, highest, finite)
        self.repeats_mapping = finite & ~opens & covered
        touches = is_infinite | opens | ((start <= self.ssn) & (self.ssn < end))
        data = self.payload > 0
        self.mapping = np.full(len(self.ssn), _NONE, dtype=np.int8)
        self.mapping[data & has] = _OTHER
        self.mapping[data & has & touches] = _OWN
        self.mapping[data & has & touches & self.repeats_mapping] = _REPEATED
        self.mapping[~data & maps & ~is_infinite] = _OTHER
        bare = data & ~has & (bits != 0)
        self.mapping[bare] = np.where(self._is_mapped(bare, highest), _DECLARED, _DEFERRED)
        self.mapping_ssn = np.where(has, start, NOT_KNOWN)
        self.mapping_octets = np.where(has, np.where(is_infinite, 0, octets), NOT_KNOWN)
        last = self.groups.last
        self.state.mapped_end[self.groups.key] = np.maximum(highest[last], end[last])

    def _mapped_by_opening(self, opens: Bools) -> Int64s:
        """Octets that an MP_CAPABLE with data maps (RFC 8684 section 3.1); its segment's where it does not say."""
        octets = self.payload.copy()
        rare = self.view.batch.rare
        for index in np.flatnonzero(opens).tolist():
            low, high = np.searchsorted(rare.row, [self.rows[index], self.rows[index] + 1])
            for each in range(low, high):
                if rare.kind[each] == _MPTCP and rare.subtype[each] == 0 and rare.size[each] >= _CAPABLE_WITH_DATA:
                    octets[index] = int(rare.octets[each, 20]) << 8 | int(rare.octets[each, 21])
        return octets

    def _covered(self, start: Int64s, end: Int64s, highest: Int64s, finite: Bools) -> Bools:
        """Whether the mapping has been on the subflow before: it begins below the end of an earlier one, and not in a
        gap that was left for later."""
        covered: Bools = finite & (start < highest)
        jumps = finite & (start > highest) & (highest != LOWEST)
        gaps = self.state.gaps
        if not gaps and not jumps.any():
            return covered
        for index in np.flatnonzero(jumps | covered).tolist():
            number = int(self.subflow[index])
            mine = gaps.get(number, [])
            if jumps[index]:
                gaps.setdefault(number, []).append((int(highest[index]), int(start[index])))
                continue
            low, high = int(start[index]), int(end[index])
            touched = [gap for gap in mine if gap[0] < high and low < gap[1]]
            if touched:
                covered[index] = not any(gap[0] <= low < gap[1] for gap in touched)
                gaps[number] = _without(mine, low, high)
        return covered

    def _is_mapped(self, bare: Bools, highest: Int64s) -> Bools:
        mapped: Bools = self.ssn[bare] < highest[bare]
        if self.state.gaps:
            for place, index in enumerate(np.flatnonzero(bare).tolist()):
                here = int(self.ssn[index])
                mine = self.state.gaps.get(int(self.subflow[index]), [])
                if any(low <= here < high for low, high in mine):
                    mapped[place] = False
        return mapped

    def _turns(self, map_every: Sequence[int]) -> NDArray[np.uint8]:
        data = (self.kind == DATA).astype(np.int64)
        counts = running_sum(data, self.groups, self.state.data_count[self.groups.key])
        self.state.data_count[self.groups.key] = counts[self.groups.last]
        turn = np.zeros(len(counts), dtype=np.uint8)
        for bit, every in enumerate(map_every):
            turn |= ((counts - 1) % every == 0).astype(np.uint8) << np.uint8(bit)
        return turn

    def _keys(self) -> Int64s:
        """All that decides the outcome but the SACK blocks wanted, in one number."""
        state, layouts = self.state, self.view.layouts
        layout = self.column("layout").astype(np.int64)
        packing = layouts.packing[layout]
        packing = np.where(packing == 0, state.packing[self.subflow], packing)
        keys = layout | self.column("dss_bits").astype(np.int64) << 16 | self.kind.astype(np.int64) << 24
        keys |= (packing != _DENSE).astype(np.int64) << 27
        keys |= self._repeats_data_ack().astype(np.int64) << 28
        keys |= self.repeats_mapping.astype(np.int64) << 29
        keys |= self.lacks_timestamps.astype(np.int64) << 30
        keys |= self._lacks_dss() << 36
        return keys

    def _repeats_data_ack(self) -> Bools:
        has = np.flatnonzero(self.column("data_ack_octets"))
        groups = groups_of(self.subflow[has])
        acks = (self.column("data_ack")[has] & np.uint64(_M32)).astype(np.int64)
        before = value_before(acks, groups, self.state.data_ack[groups.key])
        self.state.data_ack[groups.key] = acks[groups.last]
        repeats = np.zeros(len(self.at), dtype=bool)
        repeats[has] = acks == before
        return repeats

    def _lacks_dss(self) -> Int64s:
        """An ACK that carries a signal and no DSS with its DATA_ACK: the signal took its place."""
        state, octets = self.state, self.column("data_ack_octets").astype(np.int64)
        lacks = np.zeros(len(self.at), dtype=np.int64)
        candidates = self.view.layouts.signals[self.column("layout")] & (self.kind == PURE_ACK)
        candidates &= self.column("dss_bits") == 0
        for index in np.flatnonzero(candidates).tolist():
            first = int(self.groups.first[self.groups.place[index]])
            earlier = octets[first:index]
            used = earlier[earlier > 0]
            last = int(used[-1]) if len(used) else int(state.data_ack_octets[self.subflow[index]])
            lacks[index] = 4 + (last or (8 if self.peer_is_wide[index] else 4))
        has = np.flatnonzero(octets)
        groups = groups_of(self.subflow[has])
        state.data_ack_octets[groups.key] = octets[has][groups.last]
        return lacks


def _kinds(flags: NDArray[np.uint16], payload: Int64s) -> NDArray[np.int8]:
    syn, ack, rst, fin = (flags & bit != 0 for bit in (SYN, ACK, RST, FIN))
    names = ("syn-ack", "syn", "rst", "data", "fin")
    kinds = [SEGMENT_KINDS.index(name) for name in names]
    chosen = np.select([syn & ack, syn, rst, payload > 0, fin], kinds, SEGMENT_KINDS.index("ack"))
    return chosen.astype(np.int8)


def _without(gaps: list[Range], low: int, high: int) -> list[Range]:
    left = []
    for start, end in gaps:
        if start < low:
            left.append((start, min(end, low)))
        if end > high:
            left.append((max(start, high), end))
        if end <= low or start >= high:
            left = [gap for gap in left if gap[0] < gap[1]]
    return sorted({gap for gap in left if gap[0] < gap[1]})


def _narrow(numbers: NDArray[np.int32]) -> NDArray[Any]:
    """16 bits where they do: sorting them stably is much faster."""
    return numbers.astype(np.uint16) if len(numbers) and numbers.max() < 1 << 16 else numbers


def _columns() -> list[str]:
    return [name for name in Segments.__dataclass_fields__ if name != "ranges"]


def _ordered(segments: Segments, order: Int64s) -> Segments:
    values = {name: getattr(segments, name)[order] for name in _columns()}
    index = np.empty(len(order), dtype=np.int64)
    index[order] = np.arange(len(order))
    return Segments(**values, ranges={int(index[at]): each for at, each in segments.ranges.items()})


def _in_file_order(segments: Segments) -> Segments:
    return _ordered(segments, np.argsort(segments.row, kind="stable"))


def _joined(parts: Sequence[Segments]) -> Segments:
    values = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _columns()}
    ranges = dict(parts[0].ranges)
    ranges.update({at + len(parts[0]): each for at, each in parts[1].ranges.items()})
    return _in_file_order(Segments(**values, ranges=ranges))


def _nothing() -> Segments:
    kinds: dict[str, Any] = {"side": np.int8, "kind": np.int8, "mapping": np.int8, "turn": np.uint8}
    kinds |= {"retransmission": np.bool_, "peer_is_wide": np.bool_}
    columns: dict[str, Any] = {name: np.zeros(0, dtype=kinds.get(name, np.int64)) for name in _columns()}
    return Segments(**columns)
