"""How many SACK blocks each segment wanted to carry: columns while all is in order, else a replay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.contention.grouped import LOWEST, groups_of, value_before
from analysis.contention.replay import EVER, NO_STAMP, Range, Receiver, Replay
from analysis.contention.rounds import built_by
from analysis.contention.segments import Int64s
from analysis.contention.view import FIN, M32, SYN, State, View

_LEAST_AHEAD, _MOST_AHEAD = 32, 1024
"""Packets of one subflow that are looked at together."""

_Packet = tuple[int, bool, int, int, bool, int, int, int]
"""What a replay needs of a packet: place in the view, whether it leaves, offset in the peer's stream (of the first
octet, or of the acknowledgment), octets, whether a segment has room for a block more, the peer's timestamp, its time,
and the time by which it was built."""


class SackReplay:
    """How many SACK blocks each segment that leaves wants to carry."""

    def __init__(self, view: View, state: State, receiver: Receiver) -> None:
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
            near = (origin + ack - 0x8000_0000) & M32
            shift = ack - 0x8000_0000
            found[place] = tuple(
                (((left - near) & M32) + shift, ((right - near) & M32) + shift)
                for left, right in zip(
                    batch.sack.left[low:high].tolist(), batch.sack.right[low:high].tolist(), strict=True
                )
            )
        return found


class _Stretch:
    """The packets of one subflow in one batch, while the receiver holds something."""

    def __init__(
        self, replay: SackReplay, number: int, first: int, after: int, odd: Int64s, end: Int64s, edge_before: Int64s
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
