"""``testbed analyze``: any capture -> a summary, tables, a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from testbed.cli import outcome

DAMAGED = outcome.INVALID
"""Exit code when the tables hold only what came before the damage in a file."""


def analyze(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="pcap or pcapng, also .gz; - for standard input.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Directory to write; default: FILE.analysis, here."),
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Analyse each file by itself; --out holds them all.")] = False,
    what_if: Annotated[
        list[str] | None, typer.Option(metavar="POLICY", help="Pack the same segments under this policy, too.")
    ] = None,
    side: Annotated[
        str | None,
        typer.Option(help="client, server or between: where it was captured; default: told by the packets."),
    ] = None,
    stack: Annotated[
        str, typer.Option(help="How the end there keeps SACK blocks: linux, userspace or simulated.")
    ] = "linux",
    segments: Annotated[
        bool, typer.Option("--segments", help="Write segments.parquet, too: options wanted and sent, one row each.")
    ] = False,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    force: Annotated[bool, typer.Option("--force", help="Set aside what is there and is no analysis.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors and warnings.")] = False,
) -> None:
    """Say which MPTCP and TCP connections a capture holds and what their options cost; write tables and a report.

    Several files are one analysis: interfaces of one host are joined, captures of the same connections at another
    place are paired with the first. Needs neither root nor anything else of the testbed. Ends with 2 for no capture,
    an empty one or one without TCP, with 3 when a file is damaged: the tables then hold what comes before the damage.

    Example: testbed analyze client.pcap --what-if dense,32-bit
    """
    from testbed.cli.capture_analysis import AnalysisRequest, CaptureError, UsageError, carry_out, check, jobs
    from testbed.cli.capture_progress import AnalysisProgress
    from testbed.record.errors import RecordError

    request = AnalysisRequest(
        files=tuple(files), out=out, each=each, what_if=tuple(what_if or ()), side=side, stack=stack,
        segments=segments, report=report, force=force,
    )  # fmt: skip
    made, code = [], outcome.MET
    try:
        check(request)
        for together, target in jobs(request):
            try:
                with AnalysisProgress(" + ".join(map(str, together)), quiet=quiet) as progress:
                    made.append(carry_out(request, together, target, progress))
            except CaptureError as error:
                print(f"testbed: {error}", file=sys.stderr)
                code = outcome.USAGE
                continue
            for warning in made[-1].warnings:
                print(f"testbed: {warning}", file=sys.stderr)
            code = code or (DAMAGED if made[-1].damaged else outcome.MET)
    except UsageError as error:
        outcome.fail(str(error), outcome.USAGE)
    except RecordError as error:
        outcome.fail(str(error), outcome.INVALID)
    except KeyboardInterrupt:
        outcome.fail("interrupted; nothing half-written was kept", outcome.INTERRUPTED)
    if as_json:
        from testbed.cli.capture_summary import summary

        print(json.dumps([summary(one.path) for one in made], indent=1))
    elif not quiet:
        from testbed.cli.capture_summary import print_summary

        for one in made:
            print_summary(one.path)
    raise typer.Exit(code)
