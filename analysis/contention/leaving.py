"""The segments that leave: their numbers, what is said twice, mappings, and all else that decides their outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import DSS_DATA_FIN
from analysis.contention.grouped import (
    LOWEST,
    groups_of,
    highest_before,
    offset_of,
    running_sum,
    unwrapped,
    value_before,
)
from analysis.contention.repacking import SEGMENT_KINDS
from analysis.contention.replay import Range
from analysis.contention.segments import DATA, MAPPINGS, NOT_KNOWN, PURE_ACK, Bools, Int64s
from analysis.contention.view import ACK, DENSE, FIN, M32, RST, SYN, State, View

_NONE, _OWN, _OTHER, _REPEATED, _DECLARED, _DEFERRED = range(len(MAPPINGS))
_HAS_DSN = 0x04
_MPTCP = 30
_CAPABLE_WITH_DATA = 22
"""Octets of an MP_CAPABLE that has a data-level length."""


class Leaving:
    """The segments that leave, with what decides their outcomes."""

    def __init__(self, view: View, state: State, map_every: Sequence[int]) -> None:
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
        keys |= (packing != DENSE).astype(np.int64) << 27
        keys |= self._repeats_data_ack().astype(np.int64) << 28
        keys |= self.repeats_mapping.astype(np.int64) << 29
        keys |= self.lacks_timestamps.astype(np.int64) << 30
        keys |= self._lacks_dss() << 36
        return keys

    def _repeats_data_ack(self) -> Bools:
        has = np.flatnonzero(self.column("data_ack_octets"))
        groups = groups_of(self.subflow[has])
        acks = (self.column("data_ack")[has] & np.uint64(M32)).astype(np.int64)
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
