"""The first pass: which subflows there are, what their handshakes said, which DSNs they carried.

An *incarnation* is one life of a pair of ends: a SYN with another sequence number begins the next (as tshark's
``tcp.stream``), as does one with the same number behind a FIN, and a SYN/ACK that answers another SYN (which tshark
takes for one stream). Everything here is kept by incarnation and side (side 0 sent its first packet); which
side opened the connection, and which connection it is, is decided behind it, in ``resolution.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture import handshake
from analysis.capture.batch import CUT_HEADER, DSS_PRESENT, Batch, Flow, Layout
from analysis.capture.dsn_ranges import DsnRanges
from analysis.capture.handshake import Capable, Join

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

_WRAP: Final = 1 << 32
_ISN_SAMPLES: Final = 2000
"""Mappings of a stream without its SYN that are looked at to find where its subflow sequence numbers begin."""


@dataclass(slots=True)
class Side:
    """What one end said when the subflow was opened."""

    flow: int | None = None
    isn: int | None = None
    syn: bool = False
    """Its SYN or SYN/ACK is in the capture."""
    syn_payload: int = 0
    """Octets of data on it (Fast Open), which the SYN/ACK may acknowledge."""
    mss: int | None = None
    window_shift: int | None = None
    sack_permitted: bool = False
    capable: list[Capable] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)


@dataclass(slots=True)
class Incarnation:
    """One life of a pair of ends."""

    pair: int
    first_frame: int
    sides: tuple[Side, Side]
    opener: int | None = None
    """The side that sent the SYN; None: not in the capture."""
    syn_ns: int | None = None
    syns: int = 0
    syn_tsvals: list[tuple[int, int]] = field(default_factory=list)
    """(tsval, time) of each SYN: a SYN/ACK that echoes one says which it answers."""
    syn_ack_ns: int | None = None
    syn_acks: int = 0
    answered_ns: int | None = None
    """Time of the SYN that the first SYN/ACK answers; None when that cannot be told."""
    third_ns: int | None = None
    third_mptcp: bool | None = None
    """Whether the third ACK carried MP_CAPABLE or MP_JOIN; None: not seen."""
    closed: bool = False
    """A FIN was seen."""
    front: tuple[int, int] | None = None
    """(side, what is in front of its sequence number) of a first packet that is no SYN."""
    reset: bool = False


class Survey:
    """Takes the batches of a capture in order."""

    def __init__(self, flows: Sequence[Flow], layouts: Sequence[Layout]) -> None:
        self.flows = flows
        self.layouts = layouts
        self.incarnations: list[Incarnation] = []
        self.ranges = DsnRanges()
        self._pairs: dict[tuple[int, bytes, int, bytes, int], int] = {}
        self._pair_of: NDArray[np.int32] = np.empty(0, np.int32)
        self._side_of: NDArray[np.int8] = np.empty(0, np.int8)
        self._lives: list[list[int]] = []
        self._flows_of_pair: list[list[int | None]] = []
        self._plain: NDArray[np.int32] = np.empty(0, np.int32)
        """Incarnation of each pair that has one only; -1: none yet, -2: several."""
        self._awaiting: set[int] = set()
        self._isn_votes: dict[int, Counter[int]] = {}
        self._has_timestamps: NDArray[np.bool_] = np.empty(0, bool)
        self.first_ns: int | None = None
        self.last_ns: int | None = None

    def take(self, batch: Batch) -> None:
        """The next packets."""
        if not len(batch):
            return
        self._learn_flows()
        self._learn_layouts()
        usable = batch.flow >= 0
        header = usable & ((batch.status & CUT_HEADER) == 0)
        pair = np.where(usable, self._pair_of[batch.flow], -1)
        control = (batch.flags & (SYN | FIN | RST)) != 0
        fresh = usable & (self._plain[pair] == -1)
        _, first = np.unique(pair[fresh], return_index=True)
        rows = np.union1d(np.flatnonzero(control & header), np.flatnonzero(fresh)[first])
        for row in rows.tolist():
            self._event(batch, row, int(pair[row]), bool(header[row]))
        incarnation, side = self.locate(batch)
        stream = np.where(header, incarnation * 2 + side, -1)
        self._rare(batch, stream)
        self._third_acks(batch, incarnation, side, header)
        self.ranges.take(batch, stream, len(self.incarnations) * 2, self._has_timestamps[batch.layout])
        self._vote(batch, stream)
        low, high = int(batch.time_ns.min()), int(batch.time_ns.max())
        self.first_ns = low if self.first_ns is None else min(self.first_ns, low)
        self.last_ns = high if self.last_ns is None else max(self.last_ns, high)

    def locate(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(incarnation, side) of each packet; -1 where it belongs to none."""
        usable = batch.flow >= 0
        if not len(self._pair_of):
            none = np.full(len(batch), -1, np.int64)
            return none, none
        flow = np.where(usable, batch.flow, 0)
        pair = self._pair_of[flow]
        side = np.where(usable, self._side_of[flow], -1).astype(np.int64)
        result = np.where(usable, self._plain[pair], -1).astype(np.int64)
        several = np.flatnonzero(result == -2)
        if len(several):
            result[several] = self._among_several(pair[several], batch.frame[several])
        return result, side

    def flows_of_pair(self, pair: int) -> tuple[int | None, int | None, int]:
        """Index of the flow of side 0, of side 1, and of one that there is."""
        there, back = self._flows_of_pair[pair]
        some = there if there is not None else back
        assert some is not None
        return there, back, some

    def isn_by_mappings(self, stream: int) -> int | None:
        """Of a stream without its SYN, from mappings that begin with their segment; None when there is none.

        A segment that was cut off a larger one repeats its mapping and votes for a later value, each as often as those
        that begin with theirs: the smallest of the frequent ones is right.
        """
        votes = self._isn_votes.get(stream)
        if not votes:
            return None
        most = max(votes.values())
        frequent = [value for value, count in votes.items() if 2 * count >= most]
        reference = frequent[0]
        return min(frequent, key=lambda value: (value - reference + _WRAP // 2) % _WRAP)

    def _among_several(self, pair: NDArray[Any], frame: NDArray[np.int64]) -> NDArray[np.int64]:
        names, index = np.unique(pair, return_inverse=True)
        result = np.empty(len(pair), np.int64)
        for number, name in enumerate(names.tolist()):
            rows = np.flatnonzero(index == number)
            lives = self._lives[name]
            starts = np.array([self.incarnations[life].first_frame for life in lives])
            found = np.maximum(np.searchsorted(starts, frame[rows], "right") - 1, 0)
            result[rows] = np.array(lives)[found]
        return result

    def _learn_flows(self) -> None:
        known = len(self._pair_of)
        if len(self.flows) == known:
            return
        pairs, sides = [], []
        for index, flow in enumerate(self.flows[known:], known):
            there = (flow.version, flow.source, flow.source_port, flow.destination, flow.destination_port)
            back = (flow.version, flow.destination, flow.destination_port, flow.source, flow.source_port)
            if there in self._pairs:
                pairs.append(self._pairs[there])
                sides.append(0)
                self._flows_of_pair[self._pairs[there]][0] = index
            elif back in self._pairs:
                pairs.append(self._pairs[back])
                sides.append(1)
                self._flows_of_pair[self._pairs[back]][1] = index
            else:
                self._pairs[there] = len(self._lives)
                pairs.append(len(self._lives))
                sides.append(0)
                self._lives.append([])
                self._flows_of_pair.append([index, None])
        self._pair_of = np.concatenate((self._pair_of, np.array(pairs, np.int32)))
        self._side_of = np.concatenate((self._side_of, np.array(sides, np.int8)))
        missing = len(self._lives) - len(self._plain)
        self._plain = np.concatenate((self._plain, np.full(missing, -1, np.int32)))

    def _learn_layouts(self) -> None:
        known = len(self._has_timestamps)
        if len(self.layouts) > known:
            more = [any(name == "timestamps" for name, _ in layout.items) for layout in self.layouts[known:]]
            self._has_timestamps = np.concatenate((self._has_timestamps, np.array(more, bool)))

    def _begin(self, pair: int, frame: int) -> Incarnation:
        self._plain[pair] = len(self.incarnations) if not self._lives[pair] else -2
        self._lives[pair].append(len(self.incarnations))
        incarnation = Incarnation(pair, frame, (Side(), Side()))
        self.incarnations.append(incarnation)
        return incarnation

    def _event(self, batch: Batch, row: int, pair: int, whole: bool) -> None:
        """The first packet of a pair, or one with SYN, FIN or RST."""
        frame = int(batch.frame[row])
        lives = self._lives[pair]
        life = self.incarnations[lives[-1]] if lives else self._begin(pair, frame)
        if not whole:
            return
        flags = int(batch.flags[row])
        side = int(self._side_of[batch.flow[row]])
        if life.first_frame == frame and not flags & (SYN | RST):
            life.front = (side, (int(batch.seq[row]) - 1) % _WRAP)
        if flags & SYN:
            seq = int(batch.seq[row])
            ack = int(batch.ack[row]) if flags & ACK else None
            if life.first_frame != frame and _is_another(life, side, seq, ack):
                life = self._begin(pair, frame)
            self._syn(life, side, seq, ack, int(batch.time_ns[row]), batch, row)
        if flags & (FIN | RST):
            life.closed |= bool(flags & FIN)
            life.reset |= bool(flags & RST)

    def _syn(self, life: Incarnation, side: int, seq: int, ack: int | None, now: int, batch: Batch, row: int) -> None:
        this, other = life.sides[side], life.sides[1 - side]
        if not this.syn:
            this.isn = seq
            this.syn = True
        this.syn_payload = max(this.syn_payload, int(batch.payload[row]))
        if ack is None:
            if life.opener is None:
                life.opener = side
            if life.opener == side:
                life.syn_ns = now if life.syn_ns is None else life.syn_ns
                life.syns += 1
                life.syn_tsvals.append((int(batch.tsval[row]), now))
            return
        life.opener = 1 - side if life.opener is None else life.opener
        if other.isn is None:
            other.isn = (ack - 1) % _WRAP
        life.syn_acks += 1
        if life.syn_ack_ns is None:
            life.syn_ack_ns = now
            echoed = [time for tsval, time in life.syn_tsvals if tsval and tsval == int(batch.tsecr[row])]
            if life.syns == 1:
                life.answered_ns = life.syn_ns
            elif len(echoed) == 1:
                life.answered_ns = echoed[0]
            self._awaiting.add(self._lives[life.pair][-1])

    def _rare(self, batch: Batch, stream: NDArray[np.int64]) -> None:
        """Options that say who a subflow is."""
        rare = batch.rare
        mptcp = (rare.kind == handshake.KIND_MPTCP) & (rare.subtype <= handshake.MP_JOIN)
        syn = (batch.flags[rare.row] & SYN) != 0
        plain = syn & np.isin(
            rare.kind, (handshake.KIND_MSS, handshake.KIND_WINDOW_SCALE, handshake.KIND_SACK_PERMITTED)
        )
        for number in np.flatnonzero((mptcp | plain) & (stream[rare.row] >= 0)).tolist():
            place = int(stream[rare.row[number]])
            side = self.incarnations[place // 2].sides[place % 2]
            octets = rare.octets[number, : rare.size[number]].tobytes()
            kind = int(rare.kind[number])
            if kind == handshake.KIND_MPTCP:
                if rare.subtype[number] == handshake.MP_CAPABLE:
                    capable = handshake.capable(octets)
                    if capable is not None and capable not in side.capable:
                        side.capable.append(capable)
                else:
                    join = handshake.join(octets)
                    if join is not None and join not in side.joins:
                        side.joins.append(join)
            elif kind == handshake.KIND_MSS and len(octets) == 4:
                side.mss = int.from_bytes(octets[2:4], "big")
            elif kind == handshake.KIND_WINDOW_SCALE and len(octets) == 3:
                side.window_shift = octets[2]
            elif kind == handshake.KIND_SACK_PERMITTED:
                side.sack_permitted = True

    def _third_acks(
        self,
        batch: Batch,
        incarnation: NDArray[np.int64],
        side: NDArray[np.int64],
        header: NDArray[np.bool_],
    ) -> None:
        """The first segment of the opener behind the SYN/ACK."""
        if not self._awaiting:
            return
        waiting = np.zeros((len(self.incarnations), 2), bool)
        since = np.zeros(len(self.incarnations), np.int64)
        for number in self._awaiting:
            life = self.incarnations[number]
            waiting[number, life.opener or 0] = True
            since[number] = life.syn_ack_ns or 0
        found = header & ((batch.flags & (SYN | ACK | RST)) == ACK) & waiting[incarnation, side]
        found &= batch.time_ns >= since[incarnation]
        rows = np.flatnonzero(found)
        _, first = np.unique(incarnation[rows], return_index=True)
        rare = batch.rare
        identity = set(
            rare.row[(rare.kind == handshake.KIND_MPTCP) & (rare.subtype <= handshake.MP_JOIN)].tolist()
            if len(first)
            else ()
        )
        for row in rows[first].tolist():
            number = int(incarnation[row])
            life = self.incarnations[number]
            life.third_ns = int(batch.time_ns[row])
            life.third_mptcp = row in identity
            self._awaiting.discard(number)

    def _vote(self, batch: Batch, stream: NDArray[np.int64]) -> None:
        """Where would the subflow sequence numbers begin, by each mapping of a stream whose SYN is not there."""
        mapped = ((batch.dss_bits & (DSS_PRESENT | 0x04)) == (DSS_PRESENT | 0x04)) & (batch.dss_length > 0)
        rows = np.flatnonzero(mapped & (batch.payload > 0) & (stream >= 0))
        if not len(rows):
            return
        names = np.unique(stream[rows])
        open_names = [
            name
            for name in names.tolist()
            if self.incarnations[name // 2].sides[name % 2].isn is None
            and sum(self._isn_votes.get(name, Counter()).values()) < _ISN_SAMPLES
        ]
        for name in open_names:
            mine = rows[stream[rows] == name][:_ISN_SAMPLES]
            votes = (batch.seq[mine] - batch.dss_ssn[mine]).tolist()
            self._isn_votes.setdefault(name, Counter()).update(votes)


def _is_another(life: Incarnation, side: int, seq: int, ack: int | None) -> bool:
    """Whether a SYN, not the first packet of ``life``, begins another one."""
    this, other = life.sides[side], life.sides[1 - side]
    if ack is not None:
        return other.isn is not None and (ack - 1 - other.isn) % _WRAP > other.syn_payload
    if this.isn is None and life.front == (side, seq):
        return False  # it was overtaken by what it opened
    if this.isn is None:
        return not (other.syn and life.opener == 1 - side and life.syn_acks == 0)  # else opened from both ends
    return this.isn != seq or (life.closed and this.syn)
