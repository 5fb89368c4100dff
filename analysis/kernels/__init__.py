"""Runs of the same experiments on several kernels: what each finds of every claim, and what changed between them."""

from __future__ import annotations

from analysis.kernels.changes import Change, ClaimRow, Found, Kernel, KernelTable, Row, kernel_of, table_of

__all__ = ["Change", "ClaimRow", "Found", "Kernel", "KernelTable", "Row", "kernel_of", "table_of"]
