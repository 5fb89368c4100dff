"""What a run meant: run directories as tables, verdicts, comparisons, reports. Knows records, not how they were made.

A session with pandas begins so (docs/howto/analyse-with-pandas.md)::

    import analysis

    run = analysis.load("runs/quickstart/20260101T120000Z-0123abcd")
    run.trials, run.flows, run.samples, run.segments, run.counters   # DataFrames; analysis.describe() lists them all
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.frames import describe
    from analysis.runs import Run, load
    from analysis.several_runs import Runs, concat, load_many

__all__ = ["Run", "Runs", "concat", "describe", "load", "load_many"]

_ROOMS = {
    "Run": "runs",
    "load": "runs",
    "Runs": "several_runs",
    "concat": "several_runs",
    "load_many": "several_runs",
    "describe": "frames",
}


def __getattr__(name: str) -> Any:
    """Each of them when first asked for: what needs a part alone does not wait for pandas."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"analysis.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return __all__
