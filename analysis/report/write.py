"""Run directory -> report.html, report.md, summary.json, junit.xml, and of a run that compares implementations its
matrix. The same run gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from analysis.report.findings import find
from analysis.report.interop_write import render_matrix
from analysis.report.junit import junit_xml
from analysis.report.page import gather
from analysis.report.rendering import environment
from analysis.report.summary import summary_json
from analysis.runs import load
from analysis.verdict import evaluate
from testbed.record import DERIVED_FILES


def write_report(run_directory_path: Path) -> list[Path]:
    """Write the reports of a run, complete or not, into its directory; each is replaced atomically.

    Returns their paths. Raises testbed.record.RecordError when it is no run directory or the disk is full.
    """
    texts = render(run_directory_path)
    directory = load(run_directory_path).directory
    return [directory.write_file(name, texts[name]) for name in DERIVED_FILES if name in texts]


def render(run_directory_path: Path) -> Mapping[str, str]:
    """File name -> content of the reports, without writing anything."""
    run = load(run_directory_path)
    findings, verdicts = find(run), evaluate(run)
    page = gather(run, findings, verdicts)
    pages = environment("bars.css")
    return {
        "report.html": pages.get_template("report.html.j2").render(page=page),
        "report.md": pages.get_template("report.md.j2").render(page=page),
        "summary.json": summary_json(run, findings, verdicts),
        "junit.xml": junit_xml(run, verdicts),
        **render_matrix(run),
    }
