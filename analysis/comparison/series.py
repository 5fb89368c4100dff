"""Which measures two variants are compared by, of what kind each is, and which way it is better."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow.compute as pc

from analysis.better import LARGER_IN_LEDGER, SMALLER_IS_BETTER, Extreme
from analysis.comparison.contrast import Kind
from analysis.measured import Measured, Measurements
from analysis.runs import Run
from testbed.record.measure import FATES, LEDGER_MEASURES, Measure, parse_measure

FLOW_METRICS = (
    "goodput_bit_s",
    "goodput_upload_bit_s",
    "goodput_download_bit_s",
    "completion_time_ns",
    "longest_stall_ns",
    "retransmits",
    "operations_failed",
    *(
        f"{timed}_{statistic}_ns"
        for timed in ("latency", "block_delay", "flow_completion")
        for statistic in ("p50", "p95", "p99")
    ),
)
"""Of the table ``flows``; those that an application lacks have no values and are left out."""
_ONE_WAY = ("goodput_upload_bit_s", "goodput_download_bit_s")
"""Said only of flows in both directions; else they are the goodput again."""
_EVENTS = frozenset(("retransmits", "operations_failed"))
_EVENTS_IN_LEDGER = frozenset(("sack_wanted", "sack_sent", "sack_displaced", "omitted_add_addr", "omitted_dss"))
_LARGER = frozenset(("operations",))
_COUNTERS = "MPTcpExt"


def kind_of(metric: str | Measure) -> Kind:
    """``rate`` for counts of events, which are compared as such; ``difference`` for a yes or no."""
    measure = parse_measure(metric) if isinstance(metric, str) else metric
    match measure.source:
        case "counter" | "watched":
            return "rate"
        case "fate":
            return "difference"
        case "ledger":
            return "rate" if measure.name in _EVENTS_IN_LEDGER else "ratio"
        case _:
            return "rate" if measure.name in _EVENTS else "ratio"


def better_is(metric: str | Measure) -> Extreme | None:
    """Which extreme is the better one; None where neither is: counters, what a peer saw, how much was sent."""
    measure = parse_measure(metric) if isinstance(metric, str) else metric
    if measure.source == "flows":
        if measure.name in SMALLER_IS_BETTER:
            return "smallest"
        return "largest" if measure.name.startswith("goodput") or measure.name in _LARGER else None
    if measure.source == "ledger":
        return None if measure.name in LARGER_IN_LEDGER or measure.name.endswith("_wanted") else "smallest"
    return None


class Side:
    """One of the two runs: its measures, and what it has that could be compared."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.measurements = Measurements(run)

    def of(self, text: str, variant: str, flow: str) -> Measured:
        """The measure in the valid trials of a variant."""
        return self.measurements.of(text, variant, flow)

    @cached_property
    def stored(self) -> Mapping[str, Mapping[int, Mapping[str, Any]]]:
        """Variant -> trial -> its row of ``trials``."""
        found: dict[str, dict[int, Mapping[str, Any]]] = defaultdict(dict)
        columns = ["trial", "variant", "verdict", "reason"]
        for row in self.run.directory.read_table("trials").select(columns).to_pylist():
            found[row["variant"]][row["trial"]] = row
        return found

    def hosts(self, variant: str) -> set[str]:
        """Those of its valid trials whose MPTCP counters were read."""
        return {host for trial in self.measurements.trials(variant) for host, _ in self._counters[trial["trial"]]}

    def moved_counters(self, variant: str) -> set[tuple[str, str]]:
        """(host, MPTCP counter) that moved in one of its valid trials."""
        read = (self._counters[trial["trial"]] for trial in self.measurements.trials(variant))
        return {key for counters in read for key, moved in counters.items() if moved}

    @cached_property
    def has_ledger(self) -> bool:
        """Whether segments or their sums were recorded; captures are not read for it, which would take minutes."""
        directory = self.run.directory
        return any(directory.read_table(name, encoded=True).num_rows for name in ("ledger_sums", "segments"))

    @cached_property
    def _counters(self) -> Mapping[int, Mapping[tuple[str, str], bool]]:
        """Trial -> (host, MPTCP counter) -> whether it moved; those that this kernel lacks are not among them."""
        table = self.run.directory.read_table("counters", encoded=True)
        rows = table.filter(pc.starts_with(table["counter"].cast("string"), _COUNTERS))
        found: dict[int, dict[tuple[str, str], bool]] = defaultdict(dict)
        columns = (rows[name].to_pylist() for name in ("trial", "host", "counter", "before", "after"))
        for trial, host, counter, before, after in zip(*columns, strict=True):
            if before is not None and after is not None:
                found[trial][host, counter] = before != after
        return found


Sides = Sequence[tuple[Side, str]]
"""The reference and the candidate, each with its variant."""


def usual_metrics(sides: Sides, flow: str) -> list[str]:
    """Texts of the measures of a flow that variants are compared by when nobody chose.

    What neither side has, and ledger measures that are 0 in all trials of both, are left out.
    """
    found = list(FLOW_METRICS)
    if not all(_any_values(sides, text, flow) for text in _ONE_WAY):
        found = [name for name in found if name not in _ONE_WAY]
    found = [text for text in found if _any_values(sides, text, flow)]
    fates = [f"fate:{word}" for word in FATES if _any_values(sides, f"fate:{word}", flow, other_than_zero=True)]
    if fates != ["fate:tcp"]:  # of plain TCP that stayed itself there is nothing to tell
        found += fates
    return found + [text for text in _ledger_texts(sides, flow) if _any_values(sides, text, flow, other_than_zero=True)]


def usual_counters(sides: Sides) -> list[str]:
    """Texts of the MPTCP counters that moved in a valid trial of either side, of hosts that both have."""
    both = set.intersection(*(side.hosts(variant) for side, variant in sides))
    moved = set.union(*(side.moved_counters(variant) for side, variant in sides))
    return [f"counter:{counter}@{host}" for host, counter in sorted(moved) if host in both]


def _any_values(sides: Sides, text: str, flow: str, *, other_than_zero: bool = False) -> bool:
    values = [value for side, variant in sides for value in side.of(text, variant, flow).values.values()]
    return any(values) if other_than_zero else bool(values)


def _ledger_texts(sides: Sides, flow: str) -> list[str]:
    """Of the ends of which both sides have a ledger."""
    if not all(side.has_ledger for side, _ in sides):
        return []
    ends = [
        at
        for at in ("client", "server")
        if all(side.of(f"ledger:segments@{at}/all", variant, flow).values for side, variant in sides)
    ]
    return [f"ledger:{name}@{at}/all" for at in ends for name in LEDGER_MEASURES]
