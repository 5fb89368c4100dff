"""Which subflows belong together when their handshake is not in the capture: DSNs and DATA_ACKs that fit.

Both ends of a connection have a space of DSNs of their own; the DSNs that one end sends and the DATA_ACKs that the
other sends lie in it. Initial DSNs are drawn from 2^64, so ranges that lie close together by chance are rare: how rare
is computed, and subflows are joined only when chance is below 2^-20 and one connection alone fits.
"""

from __future__ import annotations

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


def join_by_ranges(survey: Survey, groups: list[Group], orphans: list[Group], notes: list[str]) -> None:
    """Put ``orphans`` and groups of joins without their MP_CAPABLE where they fit; the rest become groups."""
    strangers = [group for group in groups if group.mptcp and group.keys == [None, None]]
    settled = [group for group in groups if group.mptcp and group.keys != [None, None]]
    for group in strangers:
        groups.remove(group)
    waiting = sorted([*orphans, *strangers], key=lambda group: min(number for number, _ in group.members))
    for group in waiting:
        likely = [(other, turn, _fit(survey, other, group, turn)) for other in settled for turn in (False, True)]
        fits = [(other, turn) for other, turn, chance in likely if chance < _CHANCE]
        if len(fits) == 1:
            _merge(fits[0][0], group, fits[0][1])
            continue
        numbers = ", ".join(str(number) for number, _ in group.members)
        if fits:
            _note(group, notes, f"subflow {numbers}: its DSNs fit {len(fits)} connections, it was kept apart")
        elif any(chance < _WEAK for _, _, chance in likely):
            weak = next(other for other, _, chance in likely if chance < _WEAK)
            text = f"its DSNs would fit those of subflow {weak.members[0][0]}, but so may others by chance"
            _note(group, notes, f"subflow {numbers}: {text}; it was kept apart")
        settled.append(group)
        groups.append(group)


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
