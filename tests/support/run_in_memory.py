"""A run as analysis sees it, with the tables of ``synthetic_run`` and no disk: for tests that need dozens of runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
from synthetic_run import Rows, run_json, trial_tables

from analysis.runs import Run
from testbed.orchestrator.spec import Experiment, digest
from testbed.record import TABLES, RunDirectory
from testbed.record.parquet import arrow_schema, arrow_table


class DirectoryInMemory:
    """What :class:`analysis.runs.Run` asks of a run directory."""

    def __init__(self, document: Mapping[str, Any], tables: Rows) -> None:
        self.document = document
        self.path = Path("nowhere")
        self._tables = tables

    def read_table(self, name: str, *, encoded: bool = False) -> pa.Table:
        table = TABLES[name]
        return arrow_table(table, self._tables.get(name, [])).cast(arrow_schema(table, encoded=encoded))

    def trial_files(self, _trial: int) -> tuple[Path, ...]:
        return ()

    def remaining_trials(self) -> tuple[int, ...]:
        return ()


def run_in_memory(
    experiment: Experiment,
    alter: Callable[[int, Rows], None] | None = None,
    verdicts: Mapping[int, tuple[str, str]] | None = None,
    **document: Any,
) -> Run:
    """Arguments as those of :func:`synthetic_run.make_run`; ``document``: other keys of run.json."""
    made = run_json(experiment) | {"digest": digest(experiment), "state": "complete"}
    made |= {"started_utc": "2026-01-01T12:00:00.000Z"} | document
    tables: Rows = {}
    for entry in made["plan"]:
        trial = entry["trial"]
        verdict, reason = (verdicts or {}).get(trial, ("VALID", ""))
        variant = experiment.variant(entry["variant"])
        rows = trial_tables(experiment, variant, entry, verdict, reason, random.Random(f"7 {trial}"))
        if alter is not None:
            alter(trial, rows)
        for name, each in rows.items():
            tables.setdefault(name, []).extend(each)
    return Run(cast(RunDirectory, DirectoryInMemory(made, tables)))
