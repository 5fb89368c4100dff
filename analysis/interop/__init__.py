"""Client x server x test of a run of ``experiments/interop``: what each cell is, and its forms for other programs."""

from __future__ import annotations

from analysis.interop.cells import CellResult, MatrixResult, Measurement, TrialResult, exit_code, matrix_of
from analysis.interop.joined import Absent, joined

__all__ = ["Absent", "CellResult", "MatrixResult", "Measurement", "TrialResult", "exit_code", "joined", "matrix_of"]
