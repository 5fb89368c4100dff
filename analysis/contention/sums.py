"""Sums over segments by subflow, direction and kind, and what other policies would have made of the same segments.

Segments are counted by their outcome: few differ, so that everything else is worked out once for each, at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.contention.repacking import AREA_OCTETS, TIMESTAMPS_OCTETS, Outcome, padded
from analysis.contention.segments import DATA, PURE_ACK, Segments
from analysis.contention.what_if import Policy

Int64s = NDArray[np.int64]

GROUPS = 3
"""Data, pure ACK, opening and closing."""
_BITS = 26
"""Of a key below the group: outcome, turns, width of the peer's DSN."""
_TURN_BITS = 5
_PLAIN = ("timestamps", "dss", "sack")


class Sums:
    """Of one capture. Groups are numbered (subflow * 2 + side) * 3 + kind."""

    def __init__(self, subflows: int, map_every: Sequence[int]) -> None:
        self.map_every = tuple(map_every)
        self.payload = np.zeros(subflows * 2 * GROUPS, dtype=np.int64)
        self.new_payload = np.zeros_like(self.payload)
        self._of_outcome: list[list[int]] = []
        self._packed: dict[tuple[str, int], int] = {}
        """(policy, outcome with turns and width) -> SACK blocks that would be sent."""
        self._keys = np.zeros(0, dtype=np.int64)
        self._counts = np.zeros(0, dtype=np.int64)

    def take(self, segments: Segments) -> None:
        """Count them."""
        kind = np.where(segments.kind == DATA, 0, np.where(segments.kind == PURE_ACK, 1, 2))
        group = (segments.subflow * 2 + segments.side) * GROUPS + kind
        np.add.at(self.payload, group, segments.payload)
        np.add.at(self.new_payload, group, np.where(segments.retransmission, 0, segments.payload))
        keys = group << _BITS | segments.outcome << _TURN_BITS | segments.turn.astype(np.int64) << 1
        keys |= segments.peer_is_wide
        found, counts = np.unique(keys, return_counts=True)
        every, inverse = np.unique(np.concatenate([self._keys, found]), return_inverse=True)
        total = np.zeros(len(every), dtype=np.int64)
        np.add.at(total, inverse, np.concatenate([self._counts, counts]))
        self._keys, self._counts = every, total

    @property
    def groups(self) -> list[int]:
        """Those that have segments, in order."""
        found: list[int] = np.unique(self._keys >> _BITS).tolist()
        return found

    def of(self, groups: Sequence[int], outcomes: Sequence[Outcome]) -> dict[str, Any]:
        """Numbers of some groups together: the columns of table ``contention`` that are sums or shares of sums."""
        sums = dict(zip(_NAMES, self._summed(groups, outcomes), strict=True))
        pressure: Counter[int] = Counter()
        blame: Counter[str] = Counter()
        for number, count in self.counted(groups).items():
            pressure[outcomes[number].wanted_octets] += count
            if outcomes[number].blame:
                blame[" or ".join(outcomes[number].blame.split())] += count
        payload = int(self.payload[list(groups)].sum())
        wanted, options = sums["sack_wanted"], sums["option_octets"]
        ordered = sorted(pressure.items())
        return {
            **sums,
            "segments": pressure.total(),
            "payload": payload,
            "new_payload": int(self.new_payload[list(groups)].sum()),
            "pressure_p50": _quantile(ordered, 0.5) / AREA_OCTETS,
            "pressure_p95": _quantile(ordered, 0.95) / AREA_OCTETS,
            "pressure_max": ordered[-1][0] / AREA_OCTETS,
            "displacement_rate": sums["sack_displaced"] / wanted if wanted else None,
            "header_tax": options / payload if payload else None,
            "padding_share": sums["padding_octets"] / options if options else None,
            "blame": ", ".join(f"{name}:{count}" for name, count in sorted(blame.items(), key=lambda p: (-p[1], p[0]))),
        }

    def _summed(self, groups: Sequence[int], outcomes: Sequence[Outcome]) -> list[int]:
        """By _NAMES."""
        while len(self._of_outcome) < len(outcomes):
            numbers = _numbers(outcomes[len(self._of_outcome)])
            self._of_outcome.append([numbers[name] for name in _NAMES])
        total = [0] * len(_NAMES)
        for number, count in self.counted(groups).items():
            total = [one + each * count for one, each in zip(total, self._of_outcome[number], strict=True)]
        return total

    def counted(self, groups: Sequence[int]) -> dict[int, int]:
        """Outcome -> segments."""
        found: Counter[int] = Counter()
        for place in self._places(groups):
            found[int(self._keys[place]) >> _TURN_BITS & (1 << _BITS - _TURN_BITS) - 1] += int(self._counts[place])
        return dict(found)

    def what_if(self, groups: Sequence[int], outcomes: Sequence[Outcome], policy: Policy) -> tuple[int, int]:
        """SACK blocks (wanted, displaced) under a policy."""
        bit = self.map_every.index(policy.map_every) if policy.map_every is not None else 0
        wanted = displaced = 0
        for place in self._places(groups):
            key, count = int(self._keys[place]), int(self._counts[place])
            situation = outcomes[key >> _TURN_BITS & (1 << _BITS - _TURN_BITS) - 1].situation
            if not situation.sack_wanted:
                continue
            which = policy.text, key & (1 << _BITS) - 1
            sent = self._packed.get(which, -1)
            if sent < 0:
                has_turn = policy.map_every is None or bool(key >> 1 + bit & 1)
                sent = policy.blocks(situation, has_turn=has_turn, peer_is_wide=bool(key & 1))
                self._packed[which] = sent
            wanted += situation.sack_wanted * count
            displaced += (situation.sack_wanted - sent) * count
        return wanted, displaced

    def mss_net(self, group: int, outcomes: Sequence[Outcome], mss: int) -> tuple[int, int] | None:
        """Payload that most data segments have room for, here and under plain TCP with the same timestamps."""
        sizes: Counter[int] = Counter()
        stamped = 0
        for number, count in self.counted([group]).items():
            situation = outcomes[number].situation
            sizes[situation.option_octets] += count
            if situation.lacks_timestamps or any(name == "timestamps" for name, _ in situation.sent):
                stamped += count
        if not sizes:
            return None
        usual = max(sizes, key=lambda size: (sizes[size], -size))
        plain = padded(TIMESTAMPS_OCTETS) if 2 * stamped > sum(sizes.values()) else 0
        return mss - usual, mss - plain

    def _places(self, groups: Sequence[int]) -> list[int]:
        places: list[int] = []
        for group in groups:
            low, high = np.searchsorted(self._keys, [group << _BITS, group + 1 << _BITS])
            places += range(low, high)
        return places


_NAMES = (
    "contended",
    "option_octets",
    "padding_octets",
    "free_octets",
    "timestamps_octets",
    "dss_octets",
    "sack_octets",
    "other_octets",
    "sack_wanted",
    "sack_sent",
    "sack_displaced",
    "sack_padding",
    "sack_width",
    "sack_policy",
    "sack_hard",
)


def _numbers(outcome: Outcome) -> dict[str, int]:
    it = outcome.situation
    sizes = Counter[str]()
    for name, size in it.sent:
        sizes[name if name in _PLAIN else "other"] += size
    padding, width, policy, hard = outcome.classes
    return {
        "contended": int(outcome.wanted_octets > AREA_OCTETS),
        "option_octets": it.option_octets,
        "padding_octets": outcome.padding_octets,
        "free_octets": AREA_OCTETS - it.option_octets,
        **{f"{name}_octets": sizes[name] for name in (*_PLAIN, "other")},
        "sack_wanted": it.sack_wanted,
        "sack_sent": it.sack_sent,
        "sack_displaced": it.sack_wanted - it.sack_sent,
        "sack_padding": padding,
        "sack_width": width,
        "sack_policy": policy,
        "sack_hard": hard,
    }


def _quantile(pairs: Sequence[tuple[int, int]], share: float) -> int:
    left = share * sum(count for _, count in pairs)
    for value, count in pairs:
        left -= count
        if left <= 0:
            return value
    return pairs[-1][0]
