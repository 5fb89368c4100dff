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

from analysis.frames import Tables, as_frame, schema_of
from testbed.record import RecordError, RunDirectory

Series = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""Times in ns since the start of the traffic, values."""


class Run(Tables):
    """A run to be looked at, complete or not. Tables are read once, when first asked for.

    Its tables are attributes: ``run.trials``, ``run.flows``, ``run.samples`` ... ``analysis.describe()`` lists them,
    ``analysis.describe("flows")`` tells every column.
    """

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

    @cached_property
    def factors(self) -> pd.DataFrame:
        """What is special about each variant, one column per factor, index ``variant``: for ``join(on="variant")``.

        Levels are texts as the experiment names them (``1%``); empty without factors.
        """
        rows = {name: dict(variant.get("factors") or ()) for name, variant in self.variants.items()}
        frame = pd.DataFrame.from_dict(rows, orient="index", dtype=object)
        return frame.astype(pd.ArrowDtype(pa.string())).rename_axis(index="variant")

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial is in and nothing will be written again."""
        return bool(self.document["state"] == "complete")

    def __repr__(self) -> str:
        from analysis.run_words import in_words

        return in_words(self)

    def _repr_html_(self) -> str:
        from analysis.run_words import as_html

        return as_html(self)

    def table(self, name: str) -> pd.DataFrame:
        """The table of that name (docs/data-format.md) with Arrow-backed columns. Raises RecordError."""
        if name not in self._tables:
            self._tables[name] = as_frame(self.directory.read_table(schema_of(name).name))
        return self._tables[name]

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


def load(path: Path | str, *, complete: bool = False) -> Run:
    """The run in the directory ``path``.

    Parameters
    ----------
    path
        A run directory: ``runs/<experiment>/<time>-<digest>``.
    complete
        Whether only a complete run will do. One that is under way or was stopped is read as far as it has come, and
        says so when it is printed.

    Raises
    ------
    RecordError
        When it is no run directory (then the newest one below is named), damaged, of a newer testbed, or not complete
        though it has to be. Runs of older schema versions are migrated as they are read.
    """
    path = Path(path)
    if not (path / "run.json").exists():
        raise RecordError(_no_run(path))
    run = Run(RunDirectory.open(path))
    if complete and not run.is_complete:
        planned, left = len(run.document["plan"]), len(run.directory.remaining_trials())
        raise RecordError(f"{path} is not complete: {planned - left} of {planned} trials are in; testbed run --resume")
    return run


def _no_run(path: Path) -> str:
    """What is wrong with a path at which no run is, and what was perhaps meant."""
    if not path.exists():
        return f"{path} does not exist; a run is in a directory such as runs/<experiment>/<time>-<digest>"
    if path.is_dir():
        below = sorted((*path.glob("*/run.json"), *path.glob("*/*/run.json")), key=lambda file: file.parent.name)
        if below:
            number = f"{len(below)} runs" if len(below) > 1 else "one run"
            return f"{path} is not a run directory but holds {number}, the newest is {below[-1].parent}"
    return f"{path} is not a run directory: it has no run.json"
