"""junit.xml: a test case per trial and per expectation, for continuous integration.

An INVALID trial is an error, an UNSUPPORTED one is skipped, a FAILED expectation is a failure; an expectation that
could not be evaluated is an error, or skipped when the reason is that its trials are UNSUPPORTED here.

Source: the JUnit XML that Ant's junitreport, Jenkins and GitLab read (testsuite, testcase, failure, error, skipped).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from analysis.report.answer import distinct, sentence_of
from analysis.runs import Run
from analysis.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(run: Run, verdicts: Sequence[Verdict]) -> str:
    """The document, as text."""
    experiment = run.experiment["name"]
    trials = run.directory.read_table("trials").sort_by("trial").to_pylist()
    suite = ET.Element("testsuite", name=experiment, timestamp=run.document["started_utc"])
    for row in trials:
        name = f"repetition {row['repetition']} (trial {row['trial']})"
        seconds = f"{row['duration_ns'] / 1e9:.3f}"
        case = ET.SubElement(suite, "testcase", classname=f"{experiment}.{row['variant']}", name=name, time=seconds)
        if row["verdict"] == "INVALID":
            _add(case, "error", "INVALID", row["reason"])
        elif row["verdict"] == "UNSUPPORTED":
            _add(case, "skipped", "UNSUPPORTED", row["reason"])
    for trial in run.directory.remaining_trials():
        case = ET.SubElement(suite, "testcase", classname=experiment, name=f"trial {trial}")
        _add(case, "error", "missing", "the run is not complete: this trial has not run")
    for verdict in distinct(verdicts):
        finding = sentence_of(verdict, run.experiment.get("repetitions", 2))
        name = f"{finding.subject}, {finding.bound}"
        case = ET.SubElement(
            suite, "testcase", classname=f"{experiment}.expectations", name=without_control_characters(name)
        )
        if verdict.outcome == "FAILED":
            _add(case, "failure", "FAILED", f"{finding.measured}; expected {finding.bound}")
        elif verdict.outcome == "not evaluated":
            _add(case, "skipped" if verdict.excused else "error", "not evaluated", verdict.reason)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    suite.set("time", f"{sum(row['duration_ns'] for row in trials) / 1e9:.3f}")
    ET.indent(suite, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _add(case: ET.Element, tag: str, kind: str, message: str) -> None:
    ET.SubElement(case, tag, type=kind, message=without_control_characters(message))


def without_control_characters(text: str) -> str:
    """Without the characters that XML 1.0 cannot carry."""
    return _NOT_XML.sub("\ufffd", text)
