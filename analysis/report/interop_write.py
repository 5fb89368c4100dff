"""Run directory -> matrix.html, matrix.md, matrix.json, matrix.ktap, matrix.junit.xml, of a run that has a matrix; and
the same files of several runs that were joined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from analysis.interop import MatrixResult, matrix_of
from analysis.interop.document import matrix_json
from analysis.interop.ktap import matrix_ktap
from analysis.report.interop_junit import matrix_junit
from analysis.report.interop_page import gather
from analysis.report.rendering import environment
from analysis.runs import Run
from testbed.record import files


def render_matrix(run: Run) -> Mapping[str, str]:
    """File name -> content; empty for a run without a matrix. The same run gives the same bytes."""
    matrix = matrix_of(run)
    return {} if matrix is None else render_result(matrix)


def render_result(matrix: MatrixResult) -> Mapping[str, str]:
    """File name -> content."""
    page = gather(matrix)
    pages = environment("interop.css")
    return {
        "matrix.html": pages.get_template("interop.html.j2").render(page=page),
        "matrix.md": pages.get_template("interop.md.j2").render(page=page),
        "matrix.json": matrix_json(matrix),
        "matrix.ktap": matrix_ktap(matrix),
        "matrix.junit.xml": matrix_junit(matrix),
    }


def write_result(matrix: MatrixResult, directory: Path) -> list[Path]:
    """The files in a directory of their own, each replaced atomically. Raises RecordError when the disk is full."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in render_result(matrix).items():
        with files.space_needed_for(name, directory):
            files.write_atomically(directory / name, text.encode())
        written.append(directory / name)
    return written
