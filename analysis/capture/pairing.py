"""The same packets at two places: delays one way, losses, and what came without having left.

A packet is found again by what no router changes: its flow, sequence and acknowledgment numbers, flags, window,
payload length, timestamps, option layout and DSS, not by anything of the IP header but the addresses. Packets that are
alike in all of it are paired in their order. Assumed is that nothing on the way rewrites addresses, ports or TCP:
behind a NAT nothing is found.

Memory: what is on its way between the places, and what is lost for as long as it might still come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.capture.batch import CUT_HEADER, Batch, Flow, Layout
from analysis.capture.resolution import End, Readable, Resolution, Subflow
from analysis.capture.sums import Distributions

Int64s = NDArray[np.int64]
UInt64s = NDArray[np.uint64]

_PATIENCE_NS: Final = 60 * 1_000_000_000
"""How much later, by its own clock, the other place may show a packet."""
_MARGIN_NS: Final = 10_000_000
_FIELDS: Final = (
    "seq",
    "ack",
    "flags",
    "window",
    "payload",
    "tsval",
    "tsecr",
    "dss_bits",
    "dsn",
    "data_ack",
    "dss_ssn",
    "dss_length",
    "dss_checksum",
)
_FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)
_SHIFT: Final = np.uint64(29)


@dataclass(slots=True)
class Waiting:
    """Packets of one place that have not been found at the other."""

    key: UInt64s
    time_ns: Int64s
    stream: Int64s
    payload: Int64s

    def where(self, rows: NDArray[Any]) -> Waiting:
        """Some of them."""
        return Waiting(self.key[rows], self.time_ns[rows], self.stream[rows], self.payload[rows])

    def __add__(self, other: Waiting) -> Waiting:
        return Waiting(
            np.concatenate((self.key, other.key)),
            np.concatenate((self.time_ns, other.time_ns)),
            np.concatenate((self.stream, other.stream)),
            np.concatenate((self.payload, other.payload)),
        )

    def __len__(self) -> int:
        return len(self.key)


def _none() -> Waiting:
    none = np.empty(0, np.int64)
    return Waiting(np.empty(0, np.uint64), none, none, none)


class Place:
    """One of the two captures, read from one end to the other."""

    def __init__(self, capture: Readable, resolution: Resolution, numbers: Numbers, streams: Int64s) -> None:
        """``streams``: number that each of its streams gets; -1: of no interest."""
        self._streams = streams
        self._capture = capture
        self._resolution = resolution
        self._numbers = numbers
        self._source: Iterator[Batch] = iter(capture.batches())
        self.done = False
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.waiting = _none()
        self.gone: list[Waiting] = []
        """Waited too long."""

    def read(self) -> bool:
        """The next batch; False: there is none."""
        batch = next(self._source, None)
        if batch is None:
            self.done = True
            return False
        subflow, direction = self._resolution.both(batch)
        rows = np.flatnonzero((subflow >= 0) & ((batch.status & CUT_HEADER) == 0) & (batch.time_ns >= 0))
        stream = self._streams[subflow[rows].astype(np.int64) * 2 + direction[rows]]
        rows, stream = rows[stream >= 0], stream[stream >= 0]
        if len(rows):
            low, high = int(batch.time_ns[rows].min()), int(batch.time_ns[rows].max())
            self.first_ns = low if self.first_ns is None else min(low, self.first_ns)
            self.last_ns = high if self.last_ns is None else max(high, self.last_ns)
        key = self._numbers.keys(self._capture, batch, rows)
        self.waiting = self.waiting + Waiting(key, batch.time_ns[rows], stream, batch.payload[rows].astype(np.int64))
        return True

    def give_up(self) -> None:
        """What has waited too long will not be found."""
        if self.last_ns is None:
            return
        old = self.waiting.time_ns < self.last_ns - _PATIENCE_NS
        if old.any():
            self.gone.append(self.waiting.where(old))
            self.waiting = self.waiting.where(~old)

    def unpaired(self) -> Waiting:
        """All that was never found."""
        result = self.waiting
        for part in self.gone:
            result = result + part
        return result


class Numbers:
    """The same number for the same flow and layout in both captures."""

    def __init__(self) -> None:
        self._flows: dict[Flow, int] = {}
        self._layouts: dict[Layout, int] = {}
        self._maps: dict[tuple[int, str], UInt64s] = {}

    def keys(self, capture: Readable, batch: Batch, rows: Int64s) -> UInt64s:
        """64 bits from all that a packet is recognised by."""
        key = self._map(capture, "flows", capture.flows, self._flows)[batch.flow[rows]]
        key = _mixed(key, self._map(capture, "layouts", capture.layouts, self._layouts)[batch.layout[rows]])
        for name in _FIELDS:
            key = _mixed(key, getattr(batch, name)[rows].astype(np.uint64))
        return key

    def _map(self, capture: Readable, kind: str, items: Any, numbers: dict[Any, int]) -> UInt64s:
        known = self._maps.get((id(capture), kind), np.empty(0, np.uint64))
        if len(known) < len(items):
            more = [numbers.setdefault(item, len(numbers)) for item in items[len(known) :]]
            known = self._maps[id(capture), kind] = np.concatenate((known, np.array(more, np.uint64)))
        return known


def _mixed(key: UInt64s, value: UInt64s) -> UInt64s:
    key = (key ^ value) * _FACTOR
    return key ^ (key >> _SHIFT)


@dataclass(slots=True)
class Pairs:
    """What was found of two places, ``a`` and ``b``. Streams are those of ``a``'s resolution."""

    paired: Int64s
    later_at_b: Distributions
    """Time at b less time at a, less ``base_b``."""
    later_at_a: Distributions
    base_b: Int64s
    base_a: Int64s
    unpaired_a: Waiting
    unpaired_b: Waiting
    span_a: tuple[int, int]
    """First and last packet of the subflows that both have."""
    span_b: tuple[int, int]

    def from_a(self, stream: int) -> bool:
        """Whether the stream passes a first: it does if b is later for it than for its partner, whatever the clocks."""
        this, partner = (self.later_at_b.quantile(name, 0.5) for name in (stream, stream ^ 1))
        if this is None or partner is None:
            return this is None or this + int(self.base_b[stream]) >= 0
        this, partner = this + int(self.base_b[stream]), partner + int(self.base_b[stream ^ 1])
        return this > partner or (this == partner and stream % 2 == 0)

    def missing(self, stream: int, near: bool, from_a: bool) -> tuple[int, int]:
        """(packets, octets of payload) of one place that the other should have shown and did not."""
        at_a = near == from_a
        waiting, span = (self.unpaired_a, self.span_b) if at_a else (self.unpaired_b, self.span_a)
        of, base = (self.later_at_b, self.base_b) if at_a else (self.later_at_a, self.base_a)
        least = of.least(stream)
        shift = 0 if least is None else least + int(base[stream])
        due = waiting.time_ns + shift
        chosen = (waiting.stream == stream) & (due >= span[0]) & (due <= span[1])
        return int(chosen.sum()), int(waiting.payload[chosen].sum())

    def delays(self, stream: int, from_a: bool) -> dict[str, int | None]:
        """Least, median, 95th percentile, greatest and mean from the near to the far place."""
        of, base = (self.later_at_b, self.base_b) if from_a else (self.later_at_a, self.base_a)
        values = {
            "delay_min_ns": of.least(stream),
            "delay_p50_ns": of.quantile(stream, 0.5),
            "delay_p95_ns": of.quantile(stream, 0.95),
            "delay_max_ns": of.greatest(stream),
            "delay_mean_ns": of.mean(stream),
        }
        return {name: None if value is None else value + int(base[stream]) for name, value in values.items()}


class _Delays:
    """Signed times as distributions above a base: a little below the first values of each stream."""

    def __init__(self, streams: int) -> None:
        self.distributions = Distributions(streams)
        self.base = np.zeros(streams, np.int64)
        self._based = np.zeros(streams, bool)

    def take(self, stream: Int64s, value: Int64s) -> None:
        new = np.unique(stream[~self._based[stream]])
        if len(new):
            least = np.full(len(self.base), np.iinfo(np.int64).max)
            np.minimum.at(least, stream, value)
            self.base[new] = least[new] - _MARGIN_NS
            self._based[new] = True
        self.distributions.take(stream, np.maximum(value - self.base[stream], 0))


def pair(a: Readable, at_a: Resolution, b: Readable, at_b: Resolution) -> Pairs:
    """Find the packets of ``a`` in ``b``; of subflows that both have."""
    streams = 2 * len(at_a.subflows)
    to_a = _translation(at_a, at_b)
    own = np.full(streams, -1, np.int64)
    own[to_a[to_a >= 0]] = to_a[to_a >= 0]
    numbers = Numbers()
    one, two = Place(a, at_a, numbers, own), Place(b, at_b, numbers, to_a)
    paired = np.zeros(streams, np.int64)
    later_at_b, later_at_a = _Delays(streams), _Delays(streams)
    while not (one.done and two.done):
        place = one if not one.done and (two.done or _elapsed(one, two) <= _elapsed(two, one)) else two
        if not place.read():
            continue
        stream, delay = _match(one, two)
        np.add.at(paired, stream, 1)
        later_at_b.take(stream, delay)
        later_at_a.take(stream, -delay)
        one.give_up()
        two.give_up()
    return Pairs(
        paired,
        later_at_b.distributions,
        later_at_a.distributions,
        later_at_b.base,
        later_at_a.base,
        one.unpaired(),
        two.unpaired(),
        (one.first_ns or 0, one.last_ns or 0),
        (two.first_ns or 0, two.last_ns or 0),
    )


def _translation(at_a: Resolution, at_b: Resolution) -> Int64s:
    """Stream of a for each stream of b; -1: a has none. Lives of the same ends are told apart by their ISNs."""
    lives: dict[frozenset[End], list[Subflow]] = {}
    for subflow in at_a.subflows:
        lives.setdefault(frozenset((subflow.opener, subflow.listener)), []).append(subflow)
    result = np.full(2 * len(at_b.subflows), -1, np.int64)
    for subflow in at_b.subflows:
        found = lives.get(frozenset((subflow.opener, subflow.listener)), [])
        fitting = [other for other in found if _same_life(other, subflow)]
        if len(fitting) == 1:
            turned = int(fitting[0].opener != subflow.opener)
            result[2 * subflow.number] = 2 * fitting[0].number + turned
            result[2 * subflow.number + 1] = 2 * fitting[0].number + 1 - turned
    return result


def _same_life(one: Subflow, two: Subflow) -> bool:
    isn = two.isn if one.opener == two.opener else two.isn[::-1]
    return all(a is None or b is None or a == b for a, b in zip(one.isn, isn, strict=True))


def _elapsed(place: Place, other: Place) -> int:
    """How far a place has been read: by the clock when both clocks may be the same, else from its first packet."""
    if place.last_ns is None or place.first_ns is None:
        return -(1 << 62)
    if other.first_ns is not None and abs(place.first_ns - other.first_ns) > _PATIENCE_NS // 2:
        return place.last_ns - place.first_ns
    return place.last_ns


def _match(one: Place, two: Place) -> tuple[Int64s, Int64s]:
    """Take out what is found at both: (stream, time at two less time at one)."""
    first, second = _numbered(one.waiting.key), _numbered(two.waiting.key)
    _, at_one, at_two = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    if not len(at_one):
        return at_one, at_one
    stream = one.waiting.stream[at_one]
    delay = two.waiting.time_ns[at_two] - one.waiting.time_ns[at_one]
    for place, rows in ((one, at_one), (two, at_two)):
        left = np.ones(len(place.waiting), bool)
        left[rows] = False
        place.waiting = place.waiting.where(left)
    return stream, delay


def _numbered(key: UInt64s) -> UInt64s:
    """Keys that occur again get another one each time, so that the first is paired with the first."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    new = np.ones(len(key), bool)
    new[1:] = ordered[1:] != ordered[:-1]
    begin = np.maximum.accumulate(np.where(new, np.arange(len(key)), 0))
    count = (np.arange(len(key)) - begin).astype(np.uint64)
    result = np.empty(len(key), np.uint64)
    result[order] = np.where(count > 0, _mixed(ordered, count), ordered)
    return result
