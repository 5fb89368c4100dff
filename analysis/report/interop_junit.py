"""matrix.junit.xml: a test suite per pair and a test case per test, as Jenkins, GitLab and others read them."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from analysis.interop import evidence
from analysis.interop.cells import CellResult, MatrixResult
from analysis.report.junit import without_control_characters


def matrix_junit(matrix: MatrixResult) -> str:
    """The document, as text."""
    root = ET.Element("testsuites", name="interop")
    seconds = [
        {row["trial"]: row["duration_ns"] / 1e9 for row in run.directory.read_table("trials").to_pylist()}
        for run in matrix.runs
    ]
    first = min(run.document["started_utc"] for run in matrix.runs)
    for client in matrix.clients:
        for server in matrix.servers:
            name = f"{client['name']} to {server['name']}"
            chosen = matrix.of_pair(client["name"], server["name"])
            of_runs = [matrix.runs[cell.run].document["started_utc"] for cell in chosen if cell.run is not None]
            suite = ET.SubElement(root, "testsuite", name=name, timestamp=min(of_runs, default=first))
            for cell in chosen:
                took = {} if cell.run is None else seconds[cell.run]
                _add_case(suite, matrix, cell, sum(took.get(trial.trial, 0.0) for trial in cell.trials))
            counts = matrix.counts(chosen)
            for key, number in (
                ("tests", len(chosen)),
                ("failures", counts["fail"]),
                ("errors", counts["invalid"]),
                ("skipped", counts["unsupported"]),
            ):
                suite.set(key, str(number))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_case(suite: ET.Element, matrix: MatrixResult, cell: CellResult, seconds: float) -> None:
    classname = f"interop.{cell.client}.{cell.server}"
    case = ET.SubElement(suite, "testcase", classname=classname, name=cell.test["name"], time=f"{seconds:.3f}")
    if (found := cell.measurement) is not None:
        numbers = {"value": found.median.estimate, "unit": found.unit, "n": found.median.n}
        numbers |= {"least": min(found.values), "most": max(found.values)}
        properties = ET.SubElement(case, "properties")
        for name, value in numbers.items():
            ET.SubElement(properties, "property", name=name, value=str(value))
    tag = {"fail": "failure", "invalid": "error", "unsupported": "skipped"}.get(cell.result)
    if tag is not None:
        ET.SubElement(case, tag, type=cell.result, message=without_control_characters(cell.reason))
    if cell.result in ("fail", "invalid"):
        ET.SubElement(case, "system-out").text = evidence.replay_command(matrix, cell)
