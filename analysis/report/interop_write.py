"""Run directory -> matrix.html, matrix.md, matrix.json, matrix.ktap, matrix.junit.xml, of a run that has a matrix."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.interop import matrix_of
from analysis.interop.document import matrix_json
from analysis.interop.ktap import matrix_ktap
from analysis.report.interop_junit import matrix_junit
from analysis.report.interop_page import gather
from analysis.report.rendering import environment
from analysis.runs import Run


def render_matrix(run: Run) -> Mapping[str, str]:
    """File name -> content; empty for a run without a matrix. The same run gives the same bytes."""
    matrix = matrix_of(run)
    if matrix is None:
        return {}
    page = gather(run, matrix)
    pages = environment("interop.css")
    return {
        "matrix.html": pages.get_template("interop.html.j2").render(page=page),
        "matrix.md": pages.get_template("interop.md.j2").render(page=page),
        "matrix.json": matrix_json(run, matrix),
        "matrix.ktap": matrix_ktap(matrix),
        "matrix.junit.xml": matrix_junit(run, matrix),
    }
