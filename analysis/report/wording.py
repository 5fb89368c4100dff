"""Numbers as people read them: three significant digits, the unit that fits, a dash for what was not measured."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.record.measure import LEDGER_MEASURES, WHOLE_SIDE, MeasureError, parse_measure

NOT_MEASURED = "–"
THIN_SPACE = "\u202f"


@dataclass(frozen=True, slots=True)
class Unit:
    """``factor`` base units."""

    name: str
    factor: float

    def plain(self, value: float) -> str:
        """The number alone, three significant digits, no trailing zeros."""
        text = significant(value / self.factor)
        return text.rstrip("0").rstrip(".") if "." in text else text


_UNITS: dict[str, tuple[Unit, ...]] = {
    "bit/s": (Unit("bit/s", 1), Unit("kbit/s", 1e3), Unit("Mbit/s", 1e6), Unit("Gbit/s", 1e9)),
    "ns": (Unit("ns", 1), Unit("µs", 1e3), Unit("ms", 1e6), Unit("s", 1e9)),
    "bytes": (Unit("B", 1), Unit("kB", 1e3), Unit("MB", 1e6), Unit("GB", 1e9)),
    "x": (Unit("×", 1),),
    "ratio": (Unit("", 1),),
    "probability": (Unit("%", 0.01),),
    "share": (Unit("%", 0.01),),
}


def unit_for(value: float, base_unit: str) -> Unit:
    """The largest unit in which ``value`` is at least 1."""
    units = _UNITS.get(base_unit, (Unit(base_unit, 1),))
    return next((unit for unit in reversed(units) if abs(value) >= unit.factor), units[0])


def quantity(value: float | None, base_unit: str, *, digits: int = 3) -> str:
    """``34600000, "bit/s"`` -> ``"34.6 Mbit/s"``; None -> a dash."""
    if value is None:
        return NOT_MEASURED
    unit = unit_for(value, base_unit)
    text = significant(value / unit.factor, digits)
    return f"{text}{THIN_SPACE}{unit.name}" if unit.name else text


def interval(low: float | None, high: float | None, base_unit: str) -> str:
    """``"34.1 – 34.9 Mbit/s"``: one unit, and as many digits (up to six) as it takes to tell the ends apart."""
    if low is None or high is None:
        return NOT_MEASURED
    unit = unit_for(max(abs(low), abs(high)), base_unit)
    ends = [significant(low / unit.factor), significant(high / unit.factor)]
    for digits in (4, 5, 6):
        if ends[0] != ends[1] or low == high:
            break
        ends = [significant(low / unit.factor, digits), significant(high / unit.factor, digits)]
    text = " – ".join(ends)
    return f"{text}{THIN_SPACE}{unit.name}" if unit.name else text


def significant(value: float, digits: int = 3) -> str:
    """``18`` -> ``"18"``, ``18.04`` -> ``"18.0"``: whole numbers whole, in groups; others with ``digits`` digits."""
    if value == int(value) or abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}".replace(",", THIN_SPACE)
    elif abs(value) < 1e-4:
        text = f"{value:.{digits}g}"
    else:
        text = f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "−")


def share(value: float | None) -> str:
    """Share in [0, 1] -> percent."""
    if value is None:
        return NOT_MEASURED
    return f"< 0.001{THIN_SPACE}%" if 0 < value < 1e-5 else f"{significant(100 * value)}{THIN_SPACE}%"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``"1 trial"``, ``"2 trials"``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


METRIC_NAMES = {
    "goodput_bit_s": "goodput",
    "goodput_upload_bit_s": "upload goodput",
    "goodput_download_bit_s": "download goodput",
    "completion_time_ns": "completion time",
    "connect_time_ns": "connection time",
    "longest_stall_ns": "longest stall",
    "bytes_retransmitted": "bytes retransmitted",
    "retransmits": "segments retransmitted",
    "latency": "latency",
    "block_delay": "block delay",
    "flow_completion": "flow completion time",
    "fate": "what became of the connection",
}


SOURCES = {"ledger": "by its own ledger", "kernel": "by BPF in the kernel", "capture": "inferred from packets"}
"""Source of a ledger measure -> words."""
_KINDS = {"data": "data segments", "ack": "pure ACKs", "all": "segments"}
_FATES = {"mptcp": "stayed MPTCP", "fallback": "fell back to TCP", "tcp": "was TCP", "reset": "was reset"}


def source_in_words(source: str) -> str:
    """``"kernel against ledger"`` -> ``"by BPF in the kernel against by its own ledger"``."""
    return " against ".join(SOURCES.get(each, each) for each in source.split(" against "))


def metric_name(text: str) -> str:
    """A measure in words: ``"block_delay_p99_ns"`` -> ``"block delay, 99th percentile"``."""
    try:
        measure = parse_measure(text)
    except MeasureError:
        return _column_name(text)
    name, at = measure.name, measure.at
    match measure.source:
        case "counter":
            return f"counter {name} of {at}"
        case "watched":
            return f"packets that the watch {name} of {at} counted"
        case "observed":
            return f"{name}, seen by the scripted peer"
        case "ledger":
            kind = "" if name in WHOLE_SIDE else f"{_KINDS[measure.kind]} of "
            return f"{LEDGER_MEASURES[name][1]}, {kind}the {at}"
        case "sampled":
            begin, end = (quantity(float(each), "ns") for each in (measure.begin_ns, measure.end_ns))
            return f"{name.replace('_', ' ')} of {at} from {begin} to {end}"
        case "fate":
            return f"connection {_FATES.get(name, name)}"
        case "flows":
            return _column_name(name)


def _column_name(column: str) -> str:
    if column in METRIC_NAMES:
        return METRIC_NAMES[column]
    for key, words in {"p50": "median", "p95": "95th percentile", "p99": "99th percentile", "max": "largest"}.items():
        if column.endswith(f"_{key}_ns"):
            stem = column.removesuffix(f"_{key}_ns")
            return f"{METRIC_NAMES.get(stem, stem)}, {words}"
    for suffix in ("_ns", "_bit_s"):
        column = column.removesuffix(suffix)
    return column.replace("_", " ")
