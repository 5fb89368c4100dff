"""Axes: round tick marks, the unit that makes the numbers short, value -> share of the axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.report.wording import Unit, unit_for


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear or logarithmic axis between two values; ticks lie on round numbers of ``unit``."""

    low: float
    high: float
    ticks: tuple[float, ...]
    unit: Unit
    """In which the ticks are written."""
    base_unit: str
    """Of the values."""
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """0 at ``low``, 1 at ``high``; values outside are put on the edge."""
        if self.logarithmic:
            position = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            position = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, position))

    def label(self, tick: float) -> str:
        """The tick in the axis' unit, without it."""
        return self.unit.plain(float(f"{tick:.12g}"))  # 0.30000000000000004 is 0.3

    def shown_ticks(self) -> list[tuple[float, str]]:
        """(share, label) of each tick."""
        return [(self.share(tick), self.label(tick)) for tick in self.ticks]


def linear_axis(
    values: Sequence[float], base_unit: str, *, from_zero: bool = True, count: int = 5, tight: bool = False
) -> Axis:
    """An axis that holds all values and starts at 0, or without ``from_zero`` near them when they lie far from it.

    It ends on a tick; with ``tight`` where the values end.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if from_zero or low < 0.5 * high:
        low = min(0.0, low)
    if high <= low:
        high = low + (abs(low) or 1.0)
    unit = unit_for(max(abs(low), abs(high)), base_unit)
    step = round_step((high - low) / count / unit.factor) * unit.factor
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(step * index for index in range(first, last + 1))
    if tight:
        return Axis(ticks[0], high, tuple(tick for tick in ticks if tick <= high), unit, base_unit)
    return Axis(ticks[0], ticks[-1], ticks, unit, base_unit)


def logarithmic_axis(values: Sequence[float], base_unit: str) -> Axis:
    """Decades, with 2 and 5 between them when there are few; for values above 0 that span more than one decade."""
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1,)
    marks = [step * 10.0**decade for decade in decades for step in steps]
    below = max((mark for mark in marks if mark <= low), default=marks[0])
    above = min((mark for mark in marks if mark >= high), default=marks[-1])
    ticks = tuple(mark for mark in marks if below <= mark <= above)
    return Axis(below, above, ticks, unit_for(math.sqrt(below * above), base_unit), base_unit, logarithmic=True)


def round_step(step: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``step``."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))
