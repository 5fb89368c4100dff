"""``testbed run``: carry out experiments and leave a run directory and a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from testbed.orchestrator.runner import RunRequest
    from testbed.orchestrator.spec import Experiment

BACKENDS = ("sim", "mininet")
LATER = {
    "vm": "virtual machines are not part of this version",
    "ssh": "remote hosts are not part of this version",
}


def run(
    experiments: Annotated[list[str], typer.Argument(help="Names; 'testbed list' shows them.", show_default=False)],
    backend: Annotated[
        str,
        typer.Option(help="Where it runs: sim (virtual time, our own stack) or mininet (real kernels, root)."),
    ] = "sim",
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished run of the same.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan (mininet: and every command).")] = False,
    pcap: Annotated[bool, typer.Option("--pcap", help="Capture headers at both ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Run experiments and write a run directory with a report for each.

    Example: testbed run aggregation --set path2.loss=2% --set duration=20s --repeat 5
    """
    with outcome.reported():
        _check_backend(backend)
        from experiments import catalog

        names = catalog.names(experiments)
        chosen = [_experiment(name, variant, repeat, seed, pcap, set_ or []) for name in names]
        if dry_run:
            from testbed.cli.dry_run import print_plan, print_simulated_plan

            for experiment in chosen:
                (print_plan if backend == "mininet" else print_simulated_plan)(experiment, as_json=as_json)
            return
        from testbed.orchestrator import runner
        from testbed.orchestrator.errors import Unsupported

        codes, summaries = [], []
        for experiment in chosen:
            request = runner.RunRequest(
                experiment=experiment,
                parent=out,
                command=["testbed", *sys.argv[1:]],
                overrides=dict(word.split("=", 1) for word in set_ or []),
                resume=resume,
                backend="mininet" if backend == "mininet" else "sim",
                jobs=jobs,
            )
            try:
                code, summary = _carry_out(request, quiet=quiet, as_json=as_json)
            except Unsupported as error:
                if len(chosen) == 1:
                    raise
                print(f"testbed: UNSUPPORTED: {error}", file=sys.stderr)
                code, summary = outcome.UNSUPPORTED, {"experiment": experiment.name, "unsupported": str(error)}
            codes.append(code)
            summaries.append(summary)
        if as_json:
            print(json.dumps(summaries if len(summaries) > 1 else summaries[0], indent=1))
        raise typer.Exit(outcome.combined(codes))


def _check_backend(backend: str) -> None:
    from testbed.orchestrator.errors import Unsupported
    from testbed.orchestrator.spec import SpecificationError

    if backend in BACKENDS:
        return
    word = backend.partition(":")[0]
    if word in LATER:
        raise Unsupported(f"backend {backend}: {LATER[word]}; use --backend mininet")
    raise SpecificationError(f"--backend {backend}: the backends are {', '.join((*BACKENDS, *LATER))}")


def _experiment(
    name: str, variants: list[str] | None, repeat: int | None, seed: int | None, pcap: bool, assignments: list[str]
) -> Experiment:
    from experiments.catalog import build, choices
    from testbed.orchestrator import overrides

    known = choices(name)
    own = {key.strip(): text.strip() for key, _, text in (word.partition("=") for word in assignments)}
    experiment = build(name, {key: text for key, text in own.items() if key in known})
    assignments = [word for word in assignments if word.partition("=")[0].strip() not in known]
    words = [f"repetitions={repeat}"] if repeat is not None else []
    words += [f"seed={seed}"] if seed is not None else []
    words += ["capture=true"] if pcap else []
    if variants:
        experiment = overrides.only_variants(experiment, variants)
    return overrides.apply(experiment, [*assignments, *words])


def _carry_out(request: RunRequest, *, quiet: bool, as_json: bool) -> tuple[int, object]:
    from testbed.cli.progress import RunProgress
    from testbed.orchestrator import runner
    from testbed.orchestrator.errors import Interrupted

    with RunProgress(request.experiment.name, quiet=quiet) as progress:
        try:
            directory = runner.run(request, progress)
        except Interrupted as error:
            kept = f"; what was done is kept in {progress.path}, --resume goes on" if progress.path else ""
            raise Interrupted(f"{error}{kept}") from None
    # what was measured is safe by now; only from here on the heavy libraries are loaded
    from analysis.report.write import write_report
    from analysis.runs import load
    from analysis.verdict import evaluate, exit_code
    from testbed.cli.result_table import print_result

    write_report(directory.path)
    result = load(directory.path)
    verdicts = evaluate(result)
    if not quiet and not as_json:
        print_result(result, verdicts)
    summary = json.loads((directory.path / "summary.json").read_text())
    return exit_code(result, verdicts), {"path": str(directory.path), **summary}
