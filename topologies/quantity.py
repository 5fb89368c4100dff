"""Text with units <-> integers in base units: the one place where a unit is read or written.

Inside the project a rate is bit/s, a time is ns, a size is bytes and a probability is a float in [0, 1].
Text is parsed once, at the edge; a bare number is refused, because "delay 50" has been read as 50 us by one
tool and 50 ms by another. ``bps`` is refused too: it means bytes per second to tc and bits to everyone else.

Printing is exact: ``parse_rate(format_rate(x)) == x`` for every non-negative integer, and likewise for the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

RATE_UNITS: Mapping[str, int] = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
"""Rate units in bit/s, decimal as in tc; "/s" may follow."""

TIME_UNITS: Mapping[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
"""Time units in ns."""

SIZE_UNITS: Mapping[str, int] = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
"""Size units in bytes; decimal and binary prefixes are different words, as in IEC 80000-13."""

PROBABILITY_UNITS: Mapping[str, Fraction] = {"%": Fraction(1, 100), "ppm": Fraction(1, 10**6)}

COUNT_UNITS: Mapping[str, int] = {"packets": 1, "packet": 1, "p": 1}
"""Units of a queue limit counted in packets."""

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*([^\s0-9.][^\s]*)?\s*")


class QuantityError(ValueError):
    """The text is not a quantity of the kind asked for; the message says which texts are."""


class OutOfRangeError(QuantityError):
    """The text is well formed, but its value is not possible."""


def parse_rate(text: str) -> int:
    """``"20mbit"``, ``"1.5Gbit/s"`` -> bit/s."""
    return _integer(text, _folded(text, RATE_UNITS, suffix="/s"), "rate", "20mbit")


def parse_time(text: str) -> int:
    """``"35ms"``, ``"1.5s"`` -> ns."""
    return _integer(text, _folded(text, TIME_UNITS), "time", "35ms")


def parse_size(text: str) -> int:
    """``"64KiB"``, ``"20MB"`` -> bytes."""
    return _integer(text, _folded(text, SIZE_UNITS), "size", "64KiB")


def parse_probability(text: str) -> float:
    """``"0.5%"``, ``"100ppm"`` -> probability in [0, 1]."""
    value = _scaled(text, {unit.lower(): factor for unit, factor in PROBABILITY_UNITS.items()})
    if value is None:
        raise QuantityError(f"{text!r} is not a probability: write a number and a unit, such as '0.5%' or '100ppm'")
    if value > 1:
        raise OutOfRangeError(f"{text!r} is not a probability: it is above 100%")
    return float(value)


def parse_packets(text: str) -> int:
    """``"100packets"`` -> 100."""
    return _integer(text, _folded(text, COUNT_UNITS), "packet count", "100packets")


def format_rate(bit_s: int) -> str:
    """Bit/s -> the shortest exact text, ``20000000`` -> ``"20mbit"``."""
    return _shortest(bit_s, RATE_UNITS)


def format_time(ns: int) -> str:
    """Ns -> the shortest exact text, ``35000000`` -> ``"35ms"``."""
    return _shortest(ns, TIME_UNITS, skip=("min", "h"))


def format_size(size_bytes: int) -> str:
    """Bytes -> the shortest exact text, ``65536`` -> ``"64KiB"``."""
    return _shortest(size_bytes, SIZE_UNITS)


def format_probability(probability: float) -> str:
    """Probability -> percent text that parses back to the same float, ``0.005`` -> ``"0.5%"``."""
    return f"{_decimal(Fraction(repr(probability)) * 100)}%"


def _folded(text: str, units: Mapping[str, int], suffix: str = "") -> tuple[Fraction | None, str]:
    folded = {name.lower(): Fraction(factor) for name, factor in units.items()}
    if suffix:
        folded |= {name + suffix: factor for name, factor in folded.items()}
    return _scaled(text, folded), ", ".join(units)


def _scaled(text: object, units: Mapping[str, Fraction]) -> Fraction | None:
    if not isinstance(text, str):
        return None
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] is None or match[2].lower() not in units:
        return None
    return Fraction(match[1]) * units[match[2].lower()]


def _integer(text: str, parsed: tuple[Fraction | None, str], kind: str, example: str) -> int:
    value, units = parsed
    if value is None:
        raise QuantityError(f"{text!r} is not a {kind}: write a number and a unit ({units}), such as {example!r}")
    if value.denominator != 1:
        raise QuantityError(f"{text!r} is finer than the base unit of a {kind}")
    return int(value)


def _shortest(value: int, units: Mapping[str, int], skip: tuple[str, ...] = ()) -> str:
    if value < 0:
        raise QuantityError(f"a quantity is not negative: {value}")
    candidates = []
    for name, factor in units.items():
        if name not in skip and (value >= factor or factor == 1):
            scaled = Fraction(value, factor)
            if 10**6 % scaled.denominator == 0:  # a finite decimal of at most six places
                candidates.append(_decimal(scaled) + name)
    return min(candidates, key=lambda text: (len(text), text))


def _decimal(value: Fraction) -> str:
    whole, rest = divmod(value, 1)
    digits = ""
    while rest:
        digit, rest = divmod(rest * 10, 1)
        digits += str(digit)
    return f"{whole}.{digits}" if digits else str(whole)
