"""``testbed run``: carry out experiments and leave a run directory and a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.cli.requested import Requested
    from testbed.orchestrator.runner import RunRequest


def run(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Names; 'testbed list' shows them.", show_default=False)
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(
            help="Instead of names: experiments as JSON, as in a run.json.", metavar="FILE", show_default=False
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="Where it runs: sim (virtual time, our own stack), mininet (real kernels, root), vm:KERNEL (any "
            "kernel, on virtual time), or another machine: ssh:HOST, vagrant[:MACHINE]."
        ),
    ] = "sim",
    time: Annotated[
        Literal["virtual", "real"] | None,
        typer.Option("--time", help="Of vm: virtual (instructions are counted, repeatable; default) or real."),
    ] = None,
    shift: Annotated[
        int | None, typer.Option("--shift", metavar="N", help="Of virtual time: an instruction takes 2**N ns.")
    ] = None,
    slow: Annotated[
        int | None,
        typer.Option(
            "--slow",
            metavar="N",
            min=1,
            help="Of vm: real time, but one second there is N of ours; vm:A+B (two kernels, two machines) has 8.",
        ),
    ] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Only this variant; may be repeated.")] = None,
    repeat: Annotated[int | None, typer.Option(help="Repetitions of each variant.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.", min=0)] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change any field: path2.loss=2%.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(help="Trials at a time in the simulator; default: one per processor.", min=1, show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Trials in the simulator go to this Dask cluster."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished run of the same.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan (mininet: and every command).")] = False,
    pcap: Annotated[bool, typer.Option("--pcap", help="Capture headers at both ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    messages: Annotated[
        bool,
        typer.Option("--messages", help="Print what happens as JSON lines, for a program that listens; no report."),
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Run experiments and write a run directory with a report for each.

    Example: testbed run aggregation --set path2.loss=2% --set duration=20s --repeat 5
    """
    with outcome.reported():
        from testbed.cli import carrying_out
        from testbed.cli.requested import Changes, by_name, from_file
        from testbed.orchestrator.errors import Unsupported

        carrying_out.check_backend(backend)
        _check_words(experiments, spec, as_json=as_json, messages=messages, dry_run=dry_run)
        _check_scheduler(scheduler, backend, jobs)
        changes = Changes(tuple(variant or ()), repeat, seed, pcap, tuple(set_ or ()))
        chosen = from_file(spec, changes) if spec is not None else by_name(experiments or [], changes)
        if dry_run:
            _print_plans(chosen, backend, as_json=as_json)
            return
        codes, summaries = [], []
        with carrying_out.runs_on(backend, carrying_out.Machine(time, shift, slow)) as run_one:
            for requested in chosen:
                request = _request(requested, backend, out, jobs, scheduler, resume)
                try:
                    code, summary = carrying_out.carry_out(
                        run_one, request, quiet=quiet, as_json=as_json, messages=messages
                    )
                except Unsupported as error:
                    if len(chosen) == 1:
                        raise
                    code, summary = outcome.UNSUPPORTED, _unsupported(requested, str(error), messages=messages)
                codes.append(code)
                summaries.append(summary)
        if as_json:
            print(json.dumps(summaries if len(summaries) > 1 else summaries[0], indent=1))
        raise typer.Exit(outcome.combined(codes))


def _check_words(
    experiments: list[str] | None, spec: Path | None, *, as_json: bool, messages: bool, dry_run: bool
) -> None:
    """What does not go together. Raises SpecificationError."""
    from testbed.orchestrator.spec import SpecificationError

    if experiments and spec is not None:
        raise SpecificationError(f"name experiments, or give --spec {spec}, not both")
    if not experiments and spec is None:
        raise SpecificationError("which experiment? 'testbed list' shows them; --spec FILE reads one from JSON")
    if messages and (as_json or dry_run):
        other = "--json" if as_json else "--dry-run"
        raise SpecificationError(f"--messages and {other} both speak on standard output: choose one")


def _print_plans(chosen: list[Requested], backend: str, *, as_json: bool) -> None:
    from testbed.cli.dry_run import print_plan, print_simulated_plan

    for requested in chosen:
        (print_simulated_plan if backend == "sim" else print_plan)(requested.experiment, as_json=as_json)


def _check_scheduler(scheduler: str | None, backend: str, jobs: int | None) -> None:
    """Raises SpecificationError."""
    from testbed.orchestrator.spec import SpecificationError

    if scheduler is None:
        return
    if backend != "sim":
        raise SpecificationError(f"--scheduler is for --backend sim; on {backend} trials run one at a time")
    if jobs is not None:
        raise SpecificationError("--jobs is for this machine, and --scheduler has workers of its own: choose one")


def _request(
    requested: Requested, backend: str, out: Path, jobs: int | None, scheduler: str | None, resume: bool
) -> RunRequest:
    from testbed.orchestrator.runner import RunRequest

    return RunRequest(
        experiment=requested.experiment,
        parent=out,
        command=requested.command or ("testbed", *sys.argv[1:]),
        overrides=requested.overrides,
        ran_on=requested.ran_on,
        away=requested.away,
        resume=resume,
        backend="sim" if backend == "sim" else "mininet",
        jobs=jobs,
        scheduler=scheduler,
    )


def _unsupported(requested: Requested, why: str, *, messages: bool) -> dict[str, Any]:
    """One of several that cannot run here: told, and in the summary."""
    name = requested.experiment.name
    print(f"testbed: UNSUPPORTED: {why}", file=sys.stderr)
    if messages:
        from testbed.cli.messages import MessageLines

        MessageLines()({"kind": "unsupported", "experiment": name, "text": why})
    return {"experiment": name, "unsupported": why}
