"""Means of parts of time series, for ``sampled:METRIC@SUBJECT[2s..4s]``.

A sample of a rate speaks of the time since the one before it, so the part has the samples after its begin up to and
with its end.
"""

from __future__ import annotations

import difflib
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analysis.runs import Run
from testbed.record.measure import Measure, MeasureError, parse_measure

_Key = tuple[int, str, str]
"""Trial, metric, subject."""


class MeansOfSeries:
    """Of one run. Of the table ``samples`` only what the expectations name is kept."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def mean(self, measure: Measure, trial: int) -> float | None:
        """Over the measure's part of the traffic; None: it has no sample there."""
        found = self._series.get((trial, measure.name, measure.at))
        if found is None:
            return None
        times, values = found
        chosen = values[(times > measure.begin_ns) & (times <= measure.end_ns)]
        return float(chosen.mean()) if len(chosen) else None

    def unit(self, measure: Measure) -> str:
        """As the samples have it; empty without any."""
        return self._units.get(measure.name, "")

    def near(self, measure: Measure) -> str:
        """What the run has that sounds like it."""
        table = self._run.directory.read_table("samples", encoded=True)
        names = [pc.unique(table[column].cast(pa.string())).to_pylist() for column in ("metric", "subject")]
        near = [
            difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)
            for wanted, known in zip((measure.name, measure.at), names, strict=True)
        ]
        return f"near metrics: {', '.join(near[0]) or 'none'}; near subjects: {', '.join(near[1]) or 'none'}"

    @cached_property
    def _wanted(self) -> tuple[list[str], list[str]]:
        """Metrics and subjects of all expectations."""
        measures = []
        for expectation in self._run.experiment.get("expectations", ()):
            try:
                measures.append(parse_measure(expectation["metric"]))
            except MeasureError:
                continue  # its verdict says so
        sampled = [measure for measure in measures if measure.source == "sampled"]
        return sorted({measure.name for measure in sampled}), sorted({measure.at for measure in sampled})

    @cached_property
    def _rows(self) -> pa.Table:
        table = self._run.directory.read_table("samples", encoded=True)
        for column, names in zip(("metric", "subject"), self._wanted, strict=True):
            table = table.filter(pc.is_in(table[column].cast(pa.string()), pa.array(names, pa.string())))
        return table

    @cached_property
    def _units(self) -> dict[str, str]:
        pairs = self._rows.group_by(["metric", "unit"]).aggregate([]).to_pylist()
        return {row["metric"]: row["unit"] for row in pairs}

    @cached_property
    def _series(self) -> dict[_Key, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        found: dict[_Key, tuple[list[int], list[float]]] = {}
        columns = (self._rows[name].to_pylist() for name in ("trial", "metric", "subject", "time_ns", "value"))
        for trial, metric, subject, time_ns, value in zip(*columns, strict=True):
            times, values = found.setdefault((trial, metric, subject), ([], []))
            times.append(time_ns)
            values.append(value)
        return {key: (np.array(times), np.array(values)) for key, (times, values) in found.items()}
