"""What a run meant: run directories as tables, verdicts, comparisons, reports. Knows records, not how they were made.

``import analysis; run = analysis.load("runs/quickstart/...")`` is where a session with pandas begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.runs import Run, load

__all__ = ["Run", "load"]


def __getattr__(name: str) -> Any:
    """``load`` and ``Run``, when first asked for: what needs a part alone does not wait for pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis import runs

    return getattr(runs, name)
