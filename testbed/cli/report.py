"""``testbed report``: make the reports of a run directory again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli import outcome


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run directories.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Rebuild report.html, report.md, summary.json and junit.xml; needs neither root nor the machine of the run.

    Example: testbed report runs/aggregation/20260101T120000Z-0123abcd
    """
    with outcome.reported():
        from analysis.report.write import write_report
        from analysis.runs import load
        from analysis.verdict import evaluate, exit_code
        from testbed.cli.result_table import print_result

        codes = []
        for path in runs:
            write_report(path)
            run = load(path)
            verdicts = evaluate(run)
            codes.append(exit_code(run, verdicts))
            if as_json:
                print(json.dumps(json.loads((path / "summary.json").read_text()), indent=1))
            elif not quiet:
                print_result(run, verdicts)
        raise typer.Exit(outcome.combined(codes))
