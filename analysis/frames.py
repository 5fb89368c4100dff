"""Tables of a run as pandas DataFrames that can be looked at: an attribute each, with the schema's words and units.

Columns are Arrow-backed, so integers stay exact beside nulls. What a column means and its unit are those of
``testbed.record.schema``, in ``frame.attrs`` and in the attribute's docstring, so there is nothing to keep in step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import pandas as pd
import pyarrow as pa

from testbed.record import TABLES
from testbed.record.errors import RecordError
from testbed.record.schema import Table

TRIAL_FACTS = ("variant", "repetition", "seed", "verdict")
"""What of ``trials`` another table is looked at by."""


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow table -> DataFrame without conversion: integers stay integers, also beside nulls."""
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def described(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """A frame of that table which knows what it holds: ``attrs`` has ``table``, ``meaning`` and ``units``."""
    shown = frame.copy(deep=False)
    units = {column.name: column.unit for column in table.columns if column.unit}
    shown.attrs = {"table": table.name, "meaning": table.meaning, "units": units}
    return shown


def describe(name: str | None = None) -> pd.DataFrame:
    """Every column of a table: type, unit, whether it may be null, what it means. Without a name: the tables.

    Raises RecordError when there is no such table.
    """
    if name is None:
        return pd.DataFrame(
            {"meaning": [table.meaning for table in TABLES.values()]}, index=pd.Index(list(TABLES), name="table")
        )
    columns = schema_of(name).columns
    return pd.DataFrame(
        {
            "type": [column.type for column in columns],
            "unit": [column.unit for column in columns],
            "nullable": [column.nullable for column in columns],
            "meaning": [column.meaning for column in columns],
        },
        index=pd.Index([column.name for column in columns], name="column"),
    )


def schema_of(name: str) -> Table:
    """The declaration of a table. Raises RecordError that names those there are."""
    if name not in TABLES:
        raise RecordError(f"there is no table {name!r}; the tables are {', '.join(TABLES)}")
    return TABLES[name]


def documentation_of(table: Table) -> str:
    """The docstring of an attribute."""
    lines = [f"The table ``{table.name}``: {table.meaning}", "", "Columns (type, unit; ? may be null):", ""]
    for column in table.columns:
        kind = column.type + ("?" if column.nullable else "") + (f", {column.unit}" if column.unit else "")
        lines.append(f"    {column.name} ({kind}): {column.meaning}")
    return "\n".join(lines)


class TableAttribute:
    """A table as an attribute: read when first asked for, and the same frame from then on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.__doc__ = documentation_of(TABLES[name])

    @overload
    def __get__(self, owner: None, kind: type) -> TableAttribute: ...

    @overload
    def __get__(self, owner: Tables, kind: type) -> pd.DataFrame: ...

    def __get__(self, owner: Tables | None, kind: type) -> TableAttribute | pd.DataFrame:
        return self if owner is None else owner.frame(self._name)

    def __set__(self, owner: Tables, value: object) -> None:
        raise AttributeError(f"{self._name} is what was recorded and cannot be replaced; work on a copy of it")


class Tables(ABC):
    """The tables of one run or of several, and the joins and shapes that are wanted of them again and again."""

    trials = TableAttribute("trials")
    flows = TableAttribute("flows")
    subflows = TableAttribute("subflows")
    samples = TableAttribute("samples")
    distributions = TableAttribute("distributions")
    counters = TableAttribute("counters")
    links = TableAttribute("links")
    middleboxes = TableAttribute("middleboxes")
    observations = TableAttribute("observations")
    events = TableAttribute("events")
    segments = TableAttribute("segments")
    ledger_sums = TableAttribute("ledger_sums")

    KEY: Sequence[str] = ("trial",)
    """Columns that tell a trial from all others."""

    @abstractmethod
    def table(self, name: str) -> pd.DataFrame:
        """The table of that name, without description. Raises RecordError."""

    def frame(self, name: str) -> pd.DataFrame:
        """The table of that name with what it means in ``attrs``: the same as the attribute ``name``."""
        found: dict[str, pd.DataFrame] = self.__dict__.setdefault("_frames", {})
        if name not in found:
            found[name] = described(self.table(name), schema_of(name))
        return found[name]

    def with_trial(self, table: str | pd.DataFrame, facts: Iterable[str] = TRIAL_FACTS) -> pd.DataFrame:
        """A table, or a frame made of one, with facts of its trial (variant, repetition, seed, verdict) in each row.

        Parameters
        ----------
        table
            Name of a table, or any frame that still has the column ``trial`` (of several runs: ``run``, too).
        facts
            Columns of ``trials``; those that the table has already are not added again.
        """
        frame = self.frame(table) if isinstance(table, str) else table
        key = list(self.KEY)
        if missing := [name for name in key if name not in frame.columns]:
            raise RecordError(
                f"with_trial needs the column {missing[0]!r}, and this frame has {', '.join(map(str, frame))}"
            )
        wanted = [*dict.fromkeys(facts)]
        if unknown := [name for name in wanted if name not in self.trials.columns]:
            raise RecordError(f"trials has no column {unknown[0]!r}; it has {', '.join(map(str, self.trials))}")
        added = [name for name in wanted if name not in frame.columns]
        joined = frame.merge(self.trials[[*key, *added]], on=key, how="left", validate="many_to_one")
        joined = joined[[*key, *added, *(name for name in frame.columns if name not in key)]]
        joined.attrs = {**frame.attrs, "units": {**_units(self.trials, added), **frame.attrs.get("units", {})}}
        return joined

    def wide(self, metric: str, *, trials: Iterable[int] | None = None, subjects: str | None = None) -> pd.DataFrame:
        """One metric of ``samples`` as time series side by side: a column for each trial and subject.

        Parameters
        ----------
        metric
            Name of the metric, such as ``snd_cwnd`` or ``goodput``.
        trials
            Only these; all by default.
        subjects
            Only subjects whose name has this in it, such as ``subflow`` or ``main.server``.

        Returns
        -------
        DataFrame
            Index ``time`` (timedelta, exact to the nanosecond, since the start of the traffic), so that ``resample``
            works; columns by ``variant``, ``repetition`` and ``subject`` (of several runs ``run`` first); NaN where a
            subject had no sample then. ``attrs`` has ``metric`` and ``unit``.

        Raises
        ------
        RecordError
            When there is no sample of that metric; it names those there are.
        """
        samples = self.samples
        of_metric = samples[samples["metric"] == metric]
        if of_metric.empty:
            known = ", ".join(sorted(samples["metric"].unique())) or "none at all"
            raise RecordError(f"there are no samples of {metric!r}; the metrics are: {known}")
        chosen = of_metric
        if trials is not None:
            chosen = chosen[chosen["trial"].isin(list(trials))]
        if subjects is not None:
            chosen = chosen[chosen["subject"].str.contains(subjects, regex=False)]
        chosen = self.with_trial(chosen, ("variant", "repetition"))
        levels = [*(name for name in self.KEY if name != "trial"), "variant", "repetition", "subject"]
        made = chosen.pivot_table(index="time_ns", columns=levels, values="value", aggfunc="last", sort=False)
        made = made.astype("float64").sort_index().sort_index(axis="columns")
        made.index = pd.to_timedelta(made.index.to_numpy(dtype="int64"), unit="ns").rename("time")
        made.attrs = {"metric": metric, "unit": of_metric["unit"].iloc[0]}
        return made

    def growth(self, counters: Iterable[str] | None = None, *, host: str | None = None) -> pd.DataFrame:
        """How far each counter moved in each trial, side by side: a row for each trial, a column for each counter.

        Parameters
        ----------
        counters
            Only these, by nstat's names; all that any of the kernels has by default.
        host
            Only of this host; of all hosts by default, and the columns are then by ``host`` and ``counter``.

        Returns
        -------
        DataFrame
            Index ``trial`` (of several runs ``run`` and ``trial``). The columns are the union over all trials: null
            where the kernel of a trial has no such counter, which is never 0. Integers stay exact.
        """
        chosen = self.counters
        if counters is not None:
            chosen = chosen[chosen["counter"].isin(list(counters))]
        if host is not None:
            chosen = chosen[chosen["host"] == host]
        moved = chosen.assign(growth=chosen["after"] - chosen["before"])
        columns = ["counter"] if host is not None else ["host", "counter"]
        wide = moved.pivot(index=list(self.KEY), columns=columns, values="growth")
        every = self.trials.set_index(list(self.KEY)).index  # also trials that counted nothing
        wide = wide.reindex(every).sort_index(axis="columns")
        wide.columns = wide.columns.get_level_values(0) if host is not None else wide.columns
        return wide


def _listed(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns))


def _units(frame: pd.DataFrame, columns: Iterable[str]) -> Mapping[str, Any]:
    units: Mapping[str, Any] = frame.attrs.get("units", {})
    return {name: units[name] for name in columns if name in units}
