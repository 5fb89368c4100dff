"""``testbed matrix``: client x server x test between implementations."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli import outcome

if TYPE_CHECKING:
    from experiments.interop import Implementation
    from testbed.orchestrator.adapters import Adapter
    from testbed.orchestrator.spec import Experiment

IN_VIRTUAL_TIME = ("userspace", "userspace:rfc8684", "userspace:mptcp.org", "userspace-tcp")
"""What is compared in the simulator when nothing else is said."""
RETRIES = 3
"""Of a trial that the testbed itself disturbed: with one trial to a cell, each that is lost is a hole in the grid."""


def matrix(
    implementations: Annotated[
        str,
        typer.Option(
            help="Rows and columns, by comma: linux, linux-tcp, userspace, userspace:PROFILE, userspace-tcp, "
            "linux@RELEASE, or the name of an adapter.",
            show_default=False,
        ),
    ] = "",
    clients: Annotated[str, typer.Option(help="Rows alone; default: the implementations.", show_default=False)] = "",
    servers: Annotated[str, typer.Option(help="Columns alone; default: the implementations.", show_default=False)] = "",
    tests: Annotated[
        str,
        typer.Option(
            help="Names or letters by comma ('testbed list tests'); 'tests' without measurements; default: all.",
            show_default=False,
        ),
    ] = "",
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME.toml|NAME=COMMAND", help="A further implementation; may be repeated.", show_default=False
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="mininet (real kernels, root), sim (virtual time, our own stack), vm:KERNEL, ssh:HOST, "
            "vagrant[:MACHINE]; "
            "default: mininet where it can run, else sim.",
            show_default=False,
        ),
    ] = "",
    repeat: Annotated[int, typer.Option(help="Trials of each test; measurements have 3 at least.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the run.", min=0)] = 1,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("runs"),
    jobs: Annotated[
        int | None,
        typer.Option(help="Trials at a time in the simulator; default: one per processor.", min=1, show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest unfinished run of the same.")] = False,
    pcap: Annotated[
        bool, typer.Option("--pcap/--no-pcap", help="Capture headers at both ends; contention needs them.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print matrix.json.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors (and --json).")] = False,
) -> None:
    """Ask every pair of implementations the same tests; write the grid as HTML, Markdown, JSON, KTAP and JUnit.

    Exit codes: 0 every cell passes or is unsupported; 1 a cell failed; 3 one could not be measured; 4 nothing can run.

    Example: sudo testbed matrix --implementations linux,userspace --tests handshake,join --repeat 3
    """
    with outcome.reported():
        from testbed.cli import carrying_out
        from testbed.orchestrator.runner import RunRequest

        chosen, why = _backend(backend)
        if why and not quiet:
            print(f"backend {chosen}: {why}", file=sys.stderr)
        carrying_out.check_backend(chosen)
        rows = _words(clients) or _words(implementations)
        columns = _words(servers) or _words(implementations)
        where = "sim" if carrying_out.in_virtual_time(chosen) else chosen
        experiment = _experiment(
            rows, columns, _words(tests), adapter or [], where, repeat=repeat, seed=seed, capture=pcap
        )
        request = RunRequest(
            experiment=experiment,
            parent=out,
            command=["testbed", *sys.argv[1:]],
            resume=resume,
            backend="sim" if chosen == "sim" else "mininet",
            jobs=jobs,
        )
        with carrying_out.runs_on(chosen) as run_one:
            _, summary = carrying_out.carry_out(run_one, request, quiet=quiet, as_json=True, messages=False)
        raise typer.Exit(_told(Path(summary["path"]), as_json=as_json, quiet=quiet))


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if text and not words:
        from testbed.orchestrator.spec import SpecificationError

        raise SpecificationError(f"{text!r} names nothing: write names with commas between, or leave the option out")
    return words


def _backend(asked: str) -> tuple[str, str]:
    """And why, when nobody has asked for one."""
    if asked:
        return asked, ""
    from testbed.orchestrator import runner

    reason = runner.why_not_here()
    if reason is None:
        return "mininet", "real kernels and stacks (--backend sim runs our own stack in virtual time)"
    return "sim", f"virtual time, our own stack alone; mininet cannot run here ({reason})"


def _experiment(
    rows: Sequence[str],
    columns: Sequence[str],
    tests: Sequence[str],
    adapter: Sequence[str],
    backend: str,
    *,
    repeat: int,
    seed: int,
    capture: bool,
) -> Experiment:
    """Raises SpecificationError, and Unsupported when not one cell can be asked."""
    from experiments import interop
    from testbed.orchestrator.adapters import load_adapter
    from testbed.orchestrator.errors import Unsupported
    from testbed.orchestrator.spec import SpecificationError

    loaded = [load_adapter(text) for text in adapter]
    adapters = {each.name: each for each in loaded}
    if len(adapters) < len(loaded):
        raise SpecificationError(
            f"two of the {len(loaded)} adapters have the same name; the names are "
            f"{', '.join(each.name for each in loaded)}: give one another name (NAME=COMMAND, or 'name' in its file)"
        )
    default = IN_VIRTUAL_TIME if backend == "sim" else interop.DEFAULT_IMPLEMENTATIONS
    usual = [*default, *adapters]
    asked = dict.fromkeys([*(rows or usual), *(columns or usual)])
    known = {name: _implementation(name, adapters, backend) for name in asked}
    try:
        return interop.build(
            [known[name] for name in dict.fromkeys(rows or usual)],
            [known[name] for name in dict.fromkeys(columns or usual)],
            interop.chosen_tests(tests or ["tests", "measurements"]),
            repetitions=repeat,
            seed=seed,
            capture=capture,
            retries=1 if backend == "sim" else RETRIES,
        )
    except interop.NothingToAskError as error:
        raise Unsupported(str(error)) from None


def _implementation(name: str, adapters: Mapping[str, Adapter], backend: str) -> Implementation:
    from experiments import interop

    ends = {each.name: each.endpoint() for each in adapters.values()}
    found = interop.implementation(name, ends)
    if name in adapters:
        about = adapters[name]
        found = dataclasses.replace(found, summary=about.summary or found.summary, url=about.url or "")
    return found if found.obstacle else dataclasses.replace(found, obstacle=_obstacle(found, backend))


def _obstacle(found: Implementation, backend: str) -> str:
    """Why an implementation cannot run on that backend; empty: it can, or only the run will tell."""
    from testbed.orchestrator import features

    end = found.endpoint
    if backend == "sim":
        return "" if end.is_userspace else f"{found.name}: needs real kernels (--backend mininet)"
    if backend == "mininet" and end.implementation == "linux":
        feature = features.mptcp()
        return "" if feature.available else f"{found.name}: {feature.detail}; {feature.remedy}"
    return ""


def _told(path: Path, *, as_json: bool, quiet: bool) -> int:
    """The result on the terminal; the exit code."""
    from analysis.interop import exit_code, matrix_of
    from analysis.runs import load
    from testbed.cli.matrix_table import print_matrix

    run = load(path)
    result = matrix_of(run)
    assert result is not None
    if as_json:
        print((path / "matrix.json").read_text(), end="")
    elif not quiet:
        print_matrix(result, path)
    return exit_code(result)
