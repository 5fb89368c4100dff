"""Axes of a trend: nights as dates, ratios as their distance from 1 in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise

from analysis.comparison.contrast import Kind
from analysis.report.scale import Axis, linear_axis
from analysis.report.wording import Unit

_DAY = 86_400
_YEAR = 366 * _DAY
_MOST_DATES = 5
_EDGE_DAYS = 0.6
_NO_UNIT = Unit("", 1)


@dataclass(frozen=True, slots=True)
class DateAxis(Axis):
    """Seconds since 1970, with dates at the ticks."""

    def label(self, tick: float) -> str:
        """``"3 Oct"``; of more than a year ``"Oct 2026"``."""
        date = datetime.fromtimestamp(tick, UTC)
        return f"{date:%b %Y}" if self.high - self.low > _YEAR else f"{date.day} {date:%b}"


@cache
def seconds(utc: str) -> float:
    """``2026-01-31T02:00:00Z`` -> seconds since 1970. Of every night it is asked a thousand times."""
    return datetime.strptime(utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def date_axis(nights: Sequence[str]) -> DateAxis:
    """Holds the nights, at least one, with some room at either end; ticks lie at midnights, evenly apart."""
    first, last = seconds(nights[0]) - _EDGE_DAYS * _DAY, seconds(nights[-1]) + _EDGE_DAYS * _DAY
    apart = max(1, math.ceil((last - first) / _DAY / _MOST_DATES))
    day = datetime.fromtimestamp(last, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ticks = []
    while day.timestamp() >= first:
        ticks.append(day.timestamp())
        day -= timedelta(days=apart)
    return DateAxis(first, last, tuple(reversed(ticks)) or (first,), _NO_UNIT, "")


def shown(value: float, kind: Kind) -> float:
    """What the vertical axis of a trend has for a ratio: its distance from 1; of differences themselves."""
    return value if kind == "difference" else value - 1


def ratio_axis(values: Sequence[float], kind: Kind, unit: str) -> Axis:
    """Holds ``values`` (as :func:`shown`), and no change, at least 1 % to either side."""
    if kind == "difference":
        return linear_axis([*values, 0.0], unit, from_zero=False)
    around = [*values, -0.01, 0.01] if all(abs(value) < 0.5 for value in values) else list(values)
    return linear_axis(around, "share", from_zero=False)


def cadence(nights: Sequence[str]) -> float:
    """Seconds between two nights, as a rule (their median distance; a day when there is one night only)."""
    times = [seconds(night) for night in nights]
    apart = sorted(after - before for before, after in pairwise(times))
    return apart[len(apart) // 2] if apart else float(_DAY)


def gaps(nights: Sequence[str]) -> list[tuple[str, str]]:
    """(last night before, first night after) of every stretch in which nights are missing."""
    usual = cadence(nights)
    return [(before, after) for before, after in pairwise(nights) if seconds(after) - seconds(before) > 1.6 * usual]
