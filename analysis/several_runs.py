"""Several runs as one: the same tables with a first column ``run`` that says whose row it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa

from analysis.frames import Tables, as_frame, schema_of
from analysis.runs import Run, load
from testbed.record.errors import RecordError


class Runs(Tables):
    """Runs under names of their own. Numbers of trials repeat from run to run: a trial is a ``run`` and a ``trial``.

    The attributes are those of :class:`analysis.Run`; variants of one name and trials of one ``seed`` are pairs, which
    is what comparisons are made of.
    """

    KEY = ("run", "trial")

    def __init__(self, runs: Mapping[str, Run]) -> None:
        if not runs:
            raise RecordError("no run was given: name at least one run directory")
        self.runs = dict(runs)
        self._tables: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> Run:
        """The run of that name. Raises KeyError."""
        return self.runs[name]

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {run!r}" for name, run in self.runs.items())

    def _repr_html_(self) -> str:
        return "".join(run._repr_html_() for run in self.runs.values())

    @cached_property
    def factors(self) -> pd.DataFrame:
        """What is special about each variant of each run: for ``join(on=["run", "variant"])``."""
        return pd.concat({name: run.factors for name, run in self.runs.items()}, names=["run"])

    def table(self, name: str) -> pd.DataFrame:
        """The table of that name of all runs, one after the other. Raises RecordError."""
        if name not in self._tables:
            table = schema_of(name).name
            parts = []
            for label, run in self.runs.items():
                rows = run.directory.read_table(table)
                parts.append(rows.add_column(0, "run", pa.array([label] * len(rows), pa.string())))
            self._tables[name] = as_frame(pa.concat_tables(parts))
        return self._tables[name]


def load_many(paths: Mapping[str, Path | str] | Iterable[Path | str], *, complete: bool = False) -> Runs:
    """Several run directories as one.

    Parameters
    ----------
    paths
        Name -> run directory; or directories, which are then named by themselves, as short as tells them apart.
    complete
        As in :func:`analysis.load`.

    Raises
    ------
    RecordError
        As :func:`analysis.load`; also when a directory is there twice.
    """
    if isinstance(paths, str | Path):
        raise RecordError(f"load_many takes several directories, not {str(paths)!r}: analysis.load reads one")
    if isinstance(paths, Mapping):
        return Runs({str(name): load(path, complete=complete) for name, path in paths.items()})
    found = [Path(path) for path in paths]
    return Runs({name: load(path, complete=complete) for name, path in zip(_names(found), found, strict=True)})


def concat(runs: Iterable[Run] | Mapping[str, Run]) -> Runs:
    """Runs that are loaded already, as one; a mapping names them, or else their directories do. Raises RecordError."""
    if isinstance(runs, Mapping):
        return Runs(runs)
    found = list(runs)
    return Runs(dict(zip(_names([run.path for run in found]), found, strict=True)))


def _names(paths: Sequence[Path]) -> list[str]:
    """As short as tells them apart."""
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [str(path.resolve()) for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise RecordError(f"{name} is there twice; give the runs names, as in {{'before': ..., 'after': ...}}")
    return names
