"""The option ledger of single trials as the numbers that expectations speak of (``ledger:NAME@SIDE/KIND``).

Definitions are those of testbed/record/ledger_sums.py, whether a run keeps its segments or their sums. Times, header
tax and what waits are of the whole side, whatever KIND: a range that a data segment could not report may leave on an
ACK.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.contention.run_captures import captured_segments
from analysis.runs import Run
from testbed.record.ledger_sums import ledger_sums
from testbed.record.measure import LEDGER_MEASURES, WHOLE_SIDE, Measure

Sums = Mapping[str, Any]
"""A row of ``ledger_sums``."""

PREFERENCE = ("ledger", "kernel", "capture")
"""The end itself; what BPF saw of it; what packets show."""


def _share(part: str, *of: str) -> Callable[[Sums], float | None]:
    def share(row: Sums) -> float | None:
        whole = sum(row[name] or 0 for name in of)
        return (row[part] or 0) / whole if whole else None

    return share


def _displaced(row: Sums) -> float:
    return float(row["sack_wanted"] - row["sack_sent"])


def _displaced_share(row: Sums) -> float | None:
    return _displaced(row) / row["sack_wanted"] if row["sack_wanted"] else None


_COMPUTED: Mapping[str, Callable[[Sums], float | None]] = {
    "contended_share": _share("contended", "segments"),
    "sack_displaced": _displaced,
    "displaced_share": _displaced_share,
    "header_tax": _share("option_octets", "payload"),
    "padding_share": _share("padding_octets", "option_octets"),
    "never_reported_share": _share("never_reported", "sack_ranges"),
    "map_delayed_share": _share("map_delayed_octets", "mapped_octets", "map_missing_octets"),
    "redundant_mapping_share": _share("mappings_repeated", "mappings"),
}
"""Those that are no column of ``ledger_sums``."""


class LedgerTrials:
    """Of one run. The segments of a trial are read when the first measure of it is asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._of_trial: dict[int, dict[tuple[str, str, str, str], Sums]] = {}
        """Trial -> (flow, side, source, kind) -> sums."""
        self._captured: dict[tuple[int, str, str], dict[tuple[str, str, str, str], Sums]] = {}

    def of(self, measure: Measure, trials: Sequence[int], flow: str) -> tuple[str | None, dict[int, float]]:
        """(source, trial -> number). None: no trial has segments of that side."""
        found: dict[str, dict[int, Mapping[str, Sums]]] = {}
        for trial in trials:
            for source, kinds in self._sources(trial, flow, measure.at).items():
                found.setdefault(source, {})[trial] = kinds
        most = max((len(each) for each in found.values()), default=0)
        if not most:
            return None, {}
        source = next(name for name in PREFERENCE if len(found.get(name, ())) == most)
        numbers = {trial: _number(measure, kinds) for trial, kinds in found[source].items()}
        return source, {trial: number for trial, number in numbers.items() if number is not None}

    def _sources(self, trial: int, flow: str, side: str) -> dict[str, dict[str, Sums]]:
        """Source -> kind -> sums, of one side; a capture is asked only where nothing better is known."""
        rows = self._recorded(trial)
        if not any(key[:2] == (flow, side) for key in rows):
            rows = self._from_captures(trial, flow, side)
        found: dict[str, dict[str, Sums]] = {}
        for (of_flow, of_side, source, kind), sums in rows.items():
            if (of_flow, of_side) == (flow, side):
                found.setdefault(source, {})[kind] = sums
        return found

    def _recorded(self, trial: int) -> dict[tuple[str, str, str, str], Sums]:
        if trial not in self._of_trial:
            own = self._stored.get(trial)
            self._of_trial[trial] = own if own is not None else _summed(self._segments_of(trial))
        return self._of_trial[trial]

    def _from_captures(self, trial: int, flow: str, side: str) -> dict[tuple[str, str, str, str], Sums]:
        key = trial, flow, side
        if key not in self._captured:
            known: Collection[tuple[int, str, str]] = {
                (trial, row["flow"], each)
                for row in self._flow_names
                if row["trial"] == trial
                for each in ("client", "server")
                if (row["flow"], each) != (flow, side)
            }
            self._captured[key] = _summed(captured_segments(self._run, [trial], known))
        return self._captured[key]

    @cached_property
    def _flow_names(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._run.directory.read_table("flows").select(["trial", "flow"]).to_pylist()
        return rows

    @cached_property
    def _stored(self) -> dict[int, dict[tuple[str, str, str, str], Sums]]:
        """Trial -> sums, of a run that keeps sums."""
        found: dict[int, dict[tuple[str, str, str, str], Sums]] = {}
        for row in self._run.directory.read_table("ledger_sums").to_pylist():
            key = row["flow"], row["side"], row["source"], row["kind"]
            found.setdefault(row["trial"], {})[key] = row
        return found

    @cached_property
    def _segments(self) -> tuple[pa.Table, dict[int, tuple[int, int]]]:
        """Segments in order of trials; trial -> (first row, rows)."""
        table = self._run.directory.read_table("segments", encoded=True)
        numbers = table["trial"].to_numpy()
        if np.any(np.diff(numbers) < 0):
            order = np.argsort(numbers, kind="stable")
            table, numbers = table.take(pa.array(order)), numbers[order]
        trials, first, count = np.unique(numbers, return_index=True, return_counts=True)
        places = zip(trials.tolist(), first.tolist(), count.tolist(), strict=True)
        return table, {trial: (start, many) for trial, start, many in places}

    def _segments_of(self, trial: int) -> pa.Table:
        table, places = self._segments
        return table.slice(*places.get(trial, (0, 0)))


def _summed(table: pa.Table) -> dict[tuple[str, str, str, str], Sums]:
    rows = ledger_sums(_rows(table))
    return {(row["flow"], row["side"], row["source"], row["kind"]): row for row in rows}


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """``table.to_pylist()``, a fifth of its time: texts are looked up in their dictionary, not built for each row."""
    names, columns = table.column_names, []
    for name in names:
        column = table[name].combine_chunks()
        if pa.types.is_dictionary(column.type):
            words = column.dictionary.to_pylist()
            columns.append([None if index is None else words[index] for index in column.indices.to_pylist()])
        else:
            columns.append(column.to_pylist() if column.null_count else column.to_numpy(zero_copy_only=False).tolist())
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _number(measure: Measure, kinds: Mapping[str, Sums]) -> float | None:
    kind = "all" if measure.name in WHOLE_SIDE else measure.kind
    row = kinds.get(kind)
    if row is None:  # no segment of that kind left: what is counted is 0, shares have no value
        return 0.0 if LEDGER_MEASURES[measure.name][0] in ("segments", "blocks", "") else None
    computed = _COMPUTED.get(measure.name)
    value = computed(row) if computed is not None else row[measure.name]
    return None if value is None else float(value)
