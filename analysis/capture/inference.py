"""Which subflows belong together when their handshake is not in the capture: DSNs and DATA_ACKs that fit.

Both ends of a connection have a space of DSNs of their own; the DSNs that one end sends and the DATA_ACKs that the
other sends lie in it. Initial DSNs are drawn from 2^64, so ranges that lie close together by chance are rare: how rare
is computed, and subflows are joined only when chance is below 2^-20 and one connection alone fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from analysis.capture.dsn_ranges import DsnRange
from analysis.capture.survey import Survey

if TYPE_CHECKING:
    from analysis.capture.joining import Group

_CHANCE: Final = 2.0**-20
_WEAK: Final = 2.0**-6
"""What is less likely than this by chance is worth a note."""
_WIDE_SLACK: Final = 1 << 30
"""How far apart two subflows may be: the largest receive window (RFC 7323 section 2.3)."""
_NARROW_SLACK: Final = 1 << 22
_FREE: Final = 1.0
_WIDE_BUCKET: Final = 1 << 32
_NARROW_BUCKET: Final = 1 << 23
_BUCKETS: Final = 64
_CANDIDATES: Final = 64
"""More neighbours than this say nothing."""


def join_by_ranges(survey: Survey, groups: list[Group], orphans: list[Group], notes: list[str]) -> None:
    """Put ``orphans`` and groups of joins without their MP_CAPABLE where they fit; the rest become groups."""
    strangers = [group for group in groups if group.mptcp and group.keys == [None, None]]
    settled = [group for group in groups if group.mptcp and group.keys != [None, None]]
    for group in strangers:
        groups.remove(group)
    waiting = sorted([*orphans, *strangers], key=lambda group: min(number for number, _ in group.members))
    near = _Near()
    for group in settled if waiting else ():
        near.add(survey, group)
    for group in waiting:
        candidates = near.of(survey, group)
        if len(candidates) > _CANDIDATES:
            numbers = ", ".join(str(number) for number, _ in group.members)
            many = f"its DSNs are near those of {len(candidates)} connections"
            _note(group, notes, f"subflow {numbers}: {many}, which were not looked at: it was kept apart")
            candidates = []
        likely = [(other, turn, _fit(survey, other, group, turn)) for other in candidates for turn in (False, True)]
        fits = [(other, turn) for other, turn, chance in likely if chance < _CHANCE]
        if len(fits) == 1:
            _merge(fits[0][0], group, fits[0][1])
            near.add(survey, fits[0][0], group.members)
            continue
        numbers = ", ".join(str(number) for number, _ in group.members)
        if fits:
            _note(group, notes, f"subflow {numbers}: its DSNs fit {len(fits)} connections, it was kept apart")
        elif any(chance < _WEAK for _, _, chance in likely):
            weak = next(other for other, _, chance in likely if chance < _WEAK)
            text = f"its DSNs would fit those of subflow {weak.members[0][0]}, but so may others by chance"
            _note(group, notes, f"subflow {numbers}: {text}; it was kept apart")
        near.add(survey, group)
        groups.append(group)


class _Near:
    """Connections by where their DSNs lie, so that a subflow is compared with its neighbours and not with all."""

    def __init__(self) -> None:
        self._found: list[Group] = []
        self._numbers: dict[int, int] = {}
        self._buckets: dict[tuple[str, int], set[int]] = {}
        self._long: set[int] = set()

    def add(self, survey: Survey, group: Group, members: Sequence[tuple[int, int]] | None = None) -> None:
        """All of a connection, or further ``members`` of it."""
        number = self._numbers.setdefault(id(group), len(self._found))
        if number == len(self._found):
            self._found.append(group)
            for end in (0, 1):
                idsn = group.idsn(end)
                if idsn is not None:
                    for key in _keys(DsnRange(idsn, idsn, True)) or ():
                        self._buckets.setdefault(key, set()).add(number)
        for item in _ranges(survey, group.members if members is None else members):
            keys = _keys(item)
            if keys is None:
                self._long.add(number)
            for key in keys or ():
                self._buckets.setdefault(key, set()).add(number)

    def of(self, survey: Survey, group: Group) -> list[Group]:
        """Those near a group, in the order in which they were added."""
        numbers = set(self._long)
        for item in _ranges(survey, group.members):
            keys = _keys(item)
            if keys is None:
                return self._found
            for kind, bucket in keys:
                # 32 bits are compared only where one of the two has no more.
                others = {"wide": ("wide",), "folded": ("narrow",), "narrow": ("narrow", "folded")}[kind]
                count = (1 << 64) // _WIDE_BUCKET if kind == "wide" else (1 << 32) // _NARROW_BUCKET
                for place in (bucket - 1, bucket, bucket + 1):
                    for other in others:
                        numbers |= self._buckets.get((other, place % count), set())
        return [self._found[number] for number in sorted(numbers)]


def _ranges(survey: Survey, members: Sequence[tuple[int, int]]) -> list[DsnRange]:
    return [item for member in members for end in (0, 1) for item in _space(survey, member, end)]


def _keys(item: DsnRange) -> list[tuple[str, int]] | None:
    """Buckets that a range touches: ``wide`` of 64 bits, ``folded`` to 32, ``narrow`` of 32 alone. None: too many."""
    kinds = [("wide", 64, _WIDE_BUCKET), ("folded", 32, _NARROW_BUCKET)]
    if not item.wide:
        kinds = [("narrow", 32, _NARROW_BUCKET)]
    keys: list[tuple[str, int]] = []
    for kind, bits, size in kinds:
        low = item.low % (1 << bits)
        number = (low % size + item.span) // size + 1
        if number <= _BUCKETS:
            keys += [(kind, (low // size + index) % ((1 << bits) // size)) for index in range(number)]
        elif kind == "wide":
            return None
    return keys


def _note(group: Group, notes: list[str], text: str) -> None:
    notes.append(text)
    group.inferred.append(text)


def base(survey: Survey, group: Group, end: int) -> tuple[int | None, bool]:
    """(what stands in for the IDSN of an end whose key is not known, whether all its 64 bits are known)."""
    known = group.idsn(end)
    if known is not None:
        return known, True
    found = [item for member in group.members for item in _space(survey, member, end)]
    if not found:
        return None, False
    wide = [item for item in found if item.wide]
    some = wide or found
    first = some[0].low
    modulus = 1 << (64 if wide else 32)
    least = min((item.low - first + modulus // 2) % modulus for item in some) - modulus // 2
    return (first + least - 1) % modulus, bool(wide)


def _space(survey: Survey, member: tuple[int, int], end: int) -> list[DsnRange]:
    """Ranges of one subflow within the space of ``end``."""
    life, side = member
    there = 2 * life + (side if end == 0 else 1 - side)
    back = 2 * life + (1 - side if end == 0 else side)
    found = (survey.ranges.range_of("dsn", there), survey.ranges.range_of("ack", back))
    return [item for item in found if item is not None]


def _fit(survey: Survey, group: Group, other: Group, turn: bool) -> float:
    """How likely it is by chance that ``other`` fits the connection ``group``, with its ends exchanged if ``turn``.

    1: it does not fit, or nothing can be told.
    """
    for end in (0, 1):
        theirs = other.tokens[1 - end if turn else end]
        ours = group.tokens[end]
        if ours is not None and theirs is not None and ours != theirs:
            return _FREE
    chance = _FREE
    narrow = True
    for end in (0, 1):
        ours_all = [item for member in group.members for item in _space(survey, member, end)]
        theirs_all = [item for member in other.members for item in _space(survey, member, 1 - end if turn else end)]
        idsn = group.idsn(end)
        if idsn is not None:
            ours_all.append(DsnRange(idsn, (idsn + 1) % (1 << 64), True))
        likely = _chance(ours_all, theirs_all)
        if likely is None:
            return _FREE
        chance *= likely
        narrow &= not any(item.wide for item in theirs_all)
    if narrow and not _addresses(survey, group) & _addresses(survey, other):
        return _FREE
    return chance


def _chance(ours: list[DsnRange], theirs: list[DsnRange]) -> float | None:
    """How likely the ranges lie as close by chance; None: they are too far apart for one space."""
    if not ours or not theirs:
        return _FREE
    wide = any(item.wide for item in ours) and any(item.wide for item in theirs)
    bits = 64 if wide else 32
    low, span = _hull([item for item in ours if item.wide or not wide], bits)
    other_low, other_span = _hull([item for item in theirs if item.wide or not wide], bits)
    modulus = 1 << bits
    slack = _WIDE_SLACK if wide else _NARROW_SLACK
    if span <= 1 and other_span <= 1:
        slack = 1  # nothing was sent in it: the same value, or one with the DATA_FIN
    distance = (other_low - low) % modulus
    if distance > span + slack and modulus - distance > other_span + slack:
        return None
    return min(1.0, (span + other_span + 2 * slack) / modulus)


def _hull(items: list[DsnRange], bits: int) -> tuple[int, int]:
    """(lowest, how far the highest is above it) modulo 2^bits, with the first item as the middle."""
    modulus = 1 << bits
    half = modulus // 2
    origin = items[0].low
    lows = [(item.low - origin + half) % modulus - half for item in items]
    highs = [low + min(item.span, half) for low, item in zip(lows, items, strict=True)]
    return (origin + min(lows)) % modulus, max(highs) - min(lows)


def _addresses(survey: Survey, group: Group) -> set[bytes]:
    found = set()
    for life, _ in group.members:
        flow = survey.flows[survey.flows_of_pair(survey.incarnations[life].pair)[2]]
        found |= {flow.source, flow.destination}
    return found


def _merge(group: Group, other: Group, turn: bool) -> None:
    for number, side in other.members:
        group.members.append((number, 1 - side if turn else side))
        group.hows[number] = other.hows[number]
    for end in (0, 1):
        if group.tokens[end] is None:
            group.tokens[end] = other.tokens[1 - end if turn else end]
    numbers = ", ".join(str(number) for number, _ in other.members)
    group.inferred = [*group.inferred, *other.inferred, f"subflow {numbers} joined by DSNs and DATA_ACKs that fit"]
