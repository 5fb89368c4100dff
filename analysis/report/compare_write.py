"""Comparison -> compare.html, compare.md, compare.csv, compare.json. The same comparison gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.comparison.runs import Comparison
from analysis.report.compare_page import gather
from analysis.report.compare_tables import as_csv, as_json
from analysis.report.rendering import environment
from testbed.record import files

COMPARE_FILES = ("compare.html", "compare.md", "compare.csv", "compare.json")


def write_comparison(comparison: Comparison, out: Path, command: Sequence[str]) -> list[Path]:
    """Write the four files into ``out``, which is made; each is replaced atomically.

    Returns their paths. Raises testbed.record.RecordError when the place is no directory, or full.
    """
    return write_texts(out, render(comparison, command))


def write_texts(out: Path, texts: Mapping[str, str]) -> list[Path]:
    """The four files, as :func:`write_comparison` does."""
    with files.space_needed_for("the comparison", out):
        out.mkdir(parents=True, exist_ok=True)
    for name in COMPARE_FILES:
        files.write_atomically(out / name, texts[name].encode())
    return [out / name for name in COMPARE_FILES]


def render(comparison: Comparison, command: Sequence[str]) -> Mapping[str, str]:
    """File name -> content, without writing anything."""
    page = gather(comparison, command)
    pages = environment("compare.css")
    return {
        "compare.html": pages.get_template("compare.html.j2").render(page=page),
        "compare.md": pages.get_template("compare.md.j2").render(page=page),
        "compare.csv": as_csv(comparison),
        "compare.json": as_json(comparison, command),
    }
