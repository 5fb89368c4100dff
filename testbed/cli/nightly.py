"""``testbed nightly``: measure a campaign, append it to the history, find regressions, confirm them, write the site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.nightly.preparation import Prepared, Request

PLACE = Path("runs/nightly")


def nightly(
    campaign: Annotated[
        str, typer.Argument(help="smoke, nightly, weekly, or the path of a TOML file of your own.")
    ] = "nightly",
    history: Annotated[Path, typer.Option(help="Where the history is.")] = PLACE / "history",
    site: Annotated[Path, typer.Option(help="Where the site is written.")] = PLACE / "site",
    out: Annotated[Path, typer.Option(help="Where the night's state and its runs go.")] = PLACE / "nights",
    date: Annotated[
        str | None, typer.Option(help="Which night it is, for replays; default: today, UTC.", show_default=False)
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only series that begin so, or match with *.", show_default=False)
    ] = None,
    accept: Annotated[
        str | None,
        typer.Option(metavar="SERIES", help="Accept the newest level of a series, or of 'all'.", show_default=False),
    ] = None,
    why: Annotated[str, typer.Option(help="With --accept: the reason, for later readers.", show_default=False)] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be run, and how long it takes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Measure a campaign against its reference; regressions are confirmed by a re-run before they are told.

    Exit codes: 0; 1 a confirmed regression; 2 specification; 3 not measured; 4 nothing could run. Called again the
    same day it goes on where it was interrupted. Example: testbed nightly smoke
    """
    with outcome.reported(), _stopped_in_order():
        from testbed.nightly.preparation import Request, prepare

        request = Request(campaign=campaign, history=history, site=site, out=out, date=date, only=only)
        if accept is not None:
            _accept(request, accept, why, quiet=quiet)
            return
        prepared = prepare(request)
        if dry_run:
            _print_plan(prepared, as_json=as_json)
            return
        raise typer.Exit(_night(prepared, as_json=as_json, quiet=quiet))


def _night(prepared: Prepared, *, as_json: bool, quiet: bool) -> int:
    from testbed.cli.nightly_progress import NightProgress
    from testbed.cli.nightly_words import as_document, print_outcome
    from testbed.nightly.conduct import carry_out

    with NightProgress(quiet=quiet) as progress:
        found = carry_out(prepared, progress)
    if as_json:
        print(json.dumps(as_document(prepared, found), indent=1))
    elif not quiet:
        print_outcome(prepared, found)
    return found.code


def _print_plan(prepared: Prepared, *, as_json: bool) -> None:
    from analysis.history import History
    from testbed.cli.nightly_words import plan_document, print_plan
    from testbed.nightly.estimate import estimate
    from testbed.nightly.preparation import reach

    notes: list[str] = []
    reachable, _ = reach(prepared, lambda message: notes.append(str(message["text"])))
    steps = prepared.steps(reachable)
    nights = [
        each
        for each in History(prepared.request.history).manifests()
        if (each["campaign"], each["machine"]) == (prepared.campaign.name, prepared.machine)
    ]
    time = estimate(steps, nights)
    if as_json:
        print(json.dumps(plan_document(prepared, steps, time, notes), indent=1))
    else:
        print_plan(prepared, steps, time, notes)


def _accept(request: Request, series: str, why: str, *, quiet: bool) -> None:
    from analysis.history import History
    from testbed.nightly import campaign
    from testbed.nightly.acceptance import accept
    from testbed.nightly.conduct import write_site
    from testbed.nightly.preparation import machine_of

    found = campaign.load(campaign.path_of(request.campaign))
    history = History(request.history)
    accepted = accept(history, found, machine_of(request), series, why)
    write_site(history, request.site, found)
    if not quiet:
        what = accepted.series or f"every series of {found.name}"
        build = f"; later nights are compared with {accepted.commit[:12]}" if accepted.commit else ""
        print(f"accepted since the night of {accepted.night_utc[:10]}: {what}{build}")
        print(f"event: {accepted.path}")


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Ctrl-C and SIGTERM (systemd stops a service with it) end the run that is under way, and keep what was done."""
    from testbed.endpoint.interrupts import sigterm_like_ctrl_c
    from testbed.orchestrator.errors import Interrupted

    try:
        with sigterm_like_ctrl_c():
            yield
    except KeyboardInterrupt:
        raise Interrupted("stopped; what was measured is kept, and calling it again the same day goes on") from None
