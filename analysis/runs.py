"""A run directory as DataFrames: exact integers (Arrow-backed), nulls that stay null, nothing that was not recorded."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from testbed.record import RunDirectory

Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Times in ns since the start of the traffic, values."""


class Run:
    """A run to be looked at, complete or not. Tables are read once, when first asked for."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._tables: dict[str, pd.DataFrame] = {}

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.directory.path

    @property
    def document(self) -> Mapping[str, Any]:
        """run.json."""
        return self.directory.document

    @property
    def experiment(self) -> Mapping[str, Any]:
        """The resolved experiment of run.json."""
        experiment: Mapping[str, Any] = self.document["experiment"]
        return experiment

    @cached_property
    def variants(self) -> Mapping[str, Mapping[str, Any]]:
        """Name -> variant, in the experiment's order, only those that the plan has."""
        planned = {entry["variant"] for entry in self.document["plan"]}
        return {variant["name"]: variant for variant in self.experiment["variants"] if variant["name"] in planned}

    def table(self, name: str) -> pd.DataFrame:
        """The table of that name (docs/data-format.md) with Arrow-backed columns."""
        if name not in self._tables:
            self._tables[name] = as_frame(self.directory.read_table(name))
        return self._tables[name]

    def flows(self) -> pd.DataFrame:
        """``flows`` with variant, repetition and verdict of its trial."""
        return self.table("flows").merge(
            self.table("trials")[["trial", "variant", "repetition", "verdict"]], on="trial"
        )

    def series(self, metrics: Collection[str], trials: Collection[int]) -> dict[tuple[int, str, str], Series]:
        """(trial, subject, metric) -> time series, in order of time, of the metrics and trials asked for."""
        table = self.directory.read_table("samples", encoded=True)
        wanted = pc.and_(
            pc.is_in(table["metric"], pa.array(list(metrics), pa.string())),
            pc.is_in(table["trial"], pa.array(list(trials), pa.int64())),
        )
        chosen = table.filter(wanted).select(["trial", "time_ns", "subject", "metric", "value"]).sort_by("time_ns")
        for name in ("subject", "metric"):
            chosen = chosen.set_column(chosen.schema.get_field_index(name), name, chosen[name].cast(pa.string()))
        frame = as_frame(chosen)
        found = {}
        for key, rows in frame.groupby(["trial", "subject", "metric"], sort=False):
            trial, subject, metric = cast(tuple[int, str, str], key)
            values = rows["value"].to_numpy(dtype=np.float64)
            found[int(trial), subject, metric] = (rows["time_ns"].to_numpy(dtype=np.int64), values)
        return found


def load(path: Path | str) -> Run:
    """The run in the directory ``path``. Raises testbed.record.RecordError."""
    return Run(RunDirectory.open(Path(path)))


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow table -> DataFrame without conversion: integers stay integers, also beside nulls."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
