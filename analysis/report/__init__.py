"""The pages people read: :func:`analysis.report.write.write_report` makes all of them from a run directory."""

from __future__ import annotations

from analysis.report.write import write_report

__all__ = ["write_report"]
